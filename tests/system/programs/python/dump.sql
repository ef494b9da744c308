-- What pg_dump has to carry: of everything that a schema can hold, something.
create type mood as enum ('sad', 'ok', 'happy');
create domain percent as numeric(5, 2) check (value between 0 and 100);
create type pair as (a int, b text);
create schema side;
create sequence side.ticket start 1000 increment 5;
create table customer (
    id int generated always as identity primary key,
    name text not null collate "C",
    mood mood default 'ok',
    share percent,
    "odd ""name" pair,
    upper_name text generated always as (upper(name)) stored,
    born timestamptz default '2001-02-03 04:05:06+07'
);
insert into customer (name, mood, share, "odd ""name")
    select 'customer ' || n || ' größe', (array['sad', 'ok', 'happy'])[n % 3 + 1]::mood, n % 101, row(n, E'tab\there\\')::pair
    from generate_series(1, 500) n;
create table side.orders (
    id int default nextval('side.ticket') primary key,
    customer_id int references customer on delete cascade deferrable initially deferred,
    body bytea,
    made date not null
) partition by range (id);
create table side.orders_low partition of side.orders for values from (0) to (2000);
create table side.orders_high partition of side.orders default;
insert into side.orders (customer_id, body, made)
    select n, decode(md5(n::text), 'hex'), date '2020-01-01' + n from generate_series(1, 400) n;
create index on customer (lower(name)) where mood <> 'sad';
create unique index customer_name on customer (name);
create index on side.orders using brin (made);
create statistics customer_statistics on mood, share from customer;
create function double(n int) returns int language sql immutable return n * 2;
create function touch() returns trigger language plpgsql as $$
begin
    new.body := coalesce(new.body, '\x00');
    return new;
end $$;
create trigger touch before insert or update on side.orders for each row execute function touch();
create procedure side.nothing() language plpgsql as $$ begin null; end $$;
create aggregate total(int) (sfunc = int4pl, stype = int, initcond = '0');
create operator === (leftarg = int, rightarg = int, function = int4eq);
create view happy as select id, name from customer where mood = 'happy';
create materialized view counted as select mood, count(*) as n from customer group by mood;
create rule no_deletes as on delete to happy do instead nothing;
create table secret (owner name, body text);
insert into secret values ('app', 'mine'), ('other', 'yours');
alter table secret enable row level security;
create policy own on secret using (owner = current_setting('app.tenant', true)) with check (true);
create policy read_all on secret for select to other using (true);
grant select, insert on customer to other;
grant usage on schema side to other;
grant execute on function double(int) to other;
alter default privileges in schema side grant select on tables to other;
comment on table customer is 'It''s a comment';
comment on column customer.share is 'of a hundred';
create publication news for table customer;
alter table customer add constraint has_name check (name <> '') not valid;
select lo_from_bytea(4711, decode(repeat('00ff10', 5000), 'hex'));
select lo_from_bytea(4712, 'another');
comment on large object 4711 is 'bytes';
select setval('side.ticket', 12345);
