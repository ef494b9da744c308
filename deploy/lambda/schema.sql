-- One row for each upload. S3 and Lambda may tell of an upload more than once, and in any order: the primary key is
-- S3's own name of it. Of two uploads of one key the later has the greater sequencer, once the shorter of the two is
-- padded with zeros on the left.
CREATE TABLE IF NOT EXISTS upload (
    bucket    text        NOT NULL,
    key       text        NOT NULL,
    sequencer text        NOT NULL,
    version   text,                                -- only in buckets that keep versions
    etag      text        NOT NULL,
    size      bigint      NOT NULL,                -- bytes
    uploaded  timestamptz NOT NULL,                -- by S3's clock
    stored    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (bucket, key, sequencer)
);
