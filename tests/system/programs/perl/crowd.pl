# 20 processes with a DBD::Pg connection each: server-side prepare, pg_async, savepoints, COPY, last_insert_id.
use strict;
use warnings;
use DBI;
use DBD::Pg qw(:pg_types :async);

my $clients = $ENV{CLIENTS};
my $dsn     = "dbi:Pg:dbname=$ENV{PGDATABASE};host=$ENV{PGHOST};port=$ENV{PGPORT}";

sub json {
    my $value = shift;
    return 'null' unless defined $value;
    return '[' . join(', ', map { json($_) } @$value) . ']' if ref $value eq 'ARRAY';
    return '{' . join(', ', map { json($_) . ': ' . json($value->{$_}) } sort keys %$value) . '}' if ref $value eq 'HASH';
    $value =~ s/([\\"]|[^ -~])/sprintf '\\u%04x', ord $1/ge;
    return "\"$value\"";
}

# One write for each line: the processes share standard output.
sub tell_all { my ($client, $step, $answer) = @_; syswrite STDOUT, '[' . ($client // 'null') . ', ' . json($step) . ', ' . json($answer) . "]\n" }

sub connected { return DBI->connect($dsn, $ENV{PGUSER}, $ENV{PGPASSWORD}, { RaiseError => 1, PrintError => 0, PrintWarn => 0, AutoCommit => 1, @_ }) }

# The SQLSTATE that some work fails with.
sub state_of {
    my ($db, $work) = @_;
    return eval { $work->(); 1 } ? 'no error' : $db->state;
}

sub prepared {
    my ($db, $n) = @_;
    my @seen;
    for my $mode (1, 0) {
        local $db->{pg_server_prepare} = $mode;
        my $plus = $db->prepare('select ?::int + ?::int, ?::text');
        for my $turn (0 .. 7) {
            $plus->execute($n, $turn, "text $turn");
            push @seen, @{ $plus->fetchall_arrayref };
        }
    }
    my $now = $db->prepare('select count(*) from item where client = ?', { pg_prepare_now => 1 });
    for (1 .. 3) { $now->execute($n); push @seen, $now->fetchrow_array }
    return \@seen;
}

# The driver's own name for a statement, and a statement under a name given to it.
sub names {
    my ($db, $n) = @_;
    my @seen;
    $db->do('prepare mine(int) as select $1 * 2');
    my $mine = $db->prepare('select 1 + ?::int');
    $mine->{pg_prepare_name} = 'mine';
    for (1 .. 3) { $mine->execute($n); push @seen, $mine->fetchrow_array }
    $db->do('deallocate mine');
    return \@seen;
}

sub types {
    my ($db, $n) = @_;
    my $row = $db->prepare('select ?::int8, ?::numeric, ?::bool, ?::text, ?::bytea, ?::timestamptz, ?::int[], ?::text');
    $row->bind_param(5, "\0\xff", { pg_type => PG_BYTEA });
    my @values = ('9007199254740993', '1.250', 't', 'grosse', "\0\xff", '2001-02-03 04:05:06+00', [1, undef, 3], undef);
    $row->execute(@values);
    my @found = $row->fetchrow_array;
    return [map { ref $_ ? $_ : defined $_ ? "$_" : undef } @found];
}

sub transactions {
    my ($db, $n) = @_;
    my @seen;
    $db->begin_work;
    $db->do('insert into item values (?, 1, ?)', undef, $n, 'kept');
    $db->pg_savepoint('here');
    $db->do('insert into item values (?, 2, ?)', undef, $n, 'undone');
    $db->pg_rollback_to('here');
    push @seen, state_of($db, sub { $db->do('insert into item values (?, 1, ?)', undef, $n, 'twice') });
    push @seen, state_of($db, sub { $db->do('select 1') });
    $db->pg_rollback_to('here');
    $db->pg_release('here');
    $db->do('insert into item values (?, 3, ?)', undef, $n, 'kept');
    push @seen, $db->ping, $db->pg_ping;
    $db->commit;
    $db->{AutoCommit} = 0;
    $db->do('insert into item values (?, 4, ?)', undef, $n, 'undone');
    $db->rollback;
    $db->do('set transaction isolation level serializable');
    push @seen, $db->selectrow_array('show transaction_isolation');
    $db->commit;
    push @seen, $db->selectrow_array('show transaction_isolation');
    $db->rollback;
    $db->{AutoCommit} = 1;
    return [@seen, $db->selectall_arrayref('select n, body from item where client = ? order by n', undef, $n)];
}

sub errors {
    my ($db, $n) = @_;
    my @seen = map { my $sql = $_; state_of($db, sub { $db->do($sql) }) } 'select 1/0', 'selec', 'select * from nosuch';
    for (1 .. 3) {
        my $failing = $db->prepare('select 1 / ?::int');
        push @seen, state_of($db, sub { $failing->execute(0) });
        $failing->execute(1);
        push @seen, $failing->fetchrow_array;
    }
    return \@seen;
}

sub async {
    my ($db, $n) = @_;
    my @seen;
    $db->do('select pg_sleep(0.05)', { pg_async => PG_ASYNC });
    push @seen, $db->pg_result;
    my $one = $db->prepare('select ?::int * 2', { pg_async => PG_ASYNC });
    $one->execute($n);
    select undef, undef, undef, 0.01 until $db->pg_ready;
    $db->pg_result;
    push @seen, $one->fetchrow_array;
    if ($n % 5 == 0) {
        my $long = $db->prepare('select pg_sleep(60)', { pg_async => PG_ASYNC });
        $long->execute;
        $db->pg_cancel;
        # The driver looks at one result only, which may be the one before the error.
        push @seen, $db->state =~ /^(57014)?$/ ? 'ended' : $db->state;
    }
    return [@seen, $db->selectrow_array("select 'after'")];
}

sub copies {
    my ($db, $n) = @_;
    $db->do('copy item from stdin');
    $db->pg_putcopydata("$n\t$_\tcopied\n") for 100 .. 1099;
    $db->pg_putcopyend;
    $db->do("copy (select n from item where client = $n and n >= 100 order by n) to stdout");
    my ($line, $lines, $sum) = ('', 0, 0);
    while ($db->pg_getcopydata($line) >= 0) { $lines++; $sum += $line }
    my $twice = state_of($db, sub {
        $db->do('copy item from stdin');
        $db->pg_putcopydata("$n\t100\ttwice\n");
        $db->pg_putcopyend;
    });
    return [$lines, $sum, $twice];
}

# currval() of the table's sequence: in the transaction that drew, and with RETURNING, which needs none.
sub last_id {
    my ($db, $n) = @_;
    my @seen;
    $db->begin_work;
    $db->do('insert into part (client, body) values (?, ?)', undef, $n, 'by last_insert_id');
    my $id = $db->last_insert_id(undef, undef, 'part', undef);
    push @seen, $db->selectrow_arrayref('select client, body from part where id = ?', undef, $id);
    $db->commit;
    my ($returned) = $db->selectrow_array('insert into part (client, body) values (?, ?) returning id', undef, $n, 'returned');
    push @seen, $db->selectrow_arrayref('select client, body from part where id = ?', undef, $returned);
    return \@seen;
}

# The same where each statement is a transaction: behind a proxy the number is not told (docs/differences.md).
sub last_id_in_autocommit {
    my ($db, $n) = @_;
    $db->do('insert into part (client, body) values (?, ?)', undef, $n, 'in autocommit');
    my $id;
    my $said = state_of($db, sub { $id = $db->last_insert_id(undef, undef, 'part', undef) });
    return defined $id ? $db->selectrow_arrayref('select client, body from part where id = ?', undef, $id) : $said;
}

sub large_objects {
    my ($db, $n) = @_;
    $db->begin_work;
    my $oid = $db->pg_lo_creat($db->{pg_INV_WRITE} | $db->{pg_INV_READ});
    my $object = $db->pg_lo_open($oid, $db->{pg_INV_WRITE});
    $db->pg_lo_write($object, "object of $n", length "object of $n");
    $db->pg_lo_close($object);
    $db->commit;
    $db->begin_work;
    $object = $db->pg_lo_open($oid, $db->{pg_INV_READ});
    $db->pg_lo_read($object, my $body, 100);
    $db->pg_lo_unlink($oid);
    $db->commit;
    return $body;
}

sub settings {
    my ($db, $n) = @_;
    my @seen;
    $db->do("set work_mem to '9MB'");
    $db->do('set search_path to tenant_a, public');
    $db->do("select set_config('app.tenant', ?, false)", undef, $n);
    for (1 .. 3) {
        push @seen, $db->selectrow_arrayref("select current_setting('work_mem'), current_setting('app.tenant'), (select name from whose)");
    }
    $db->do('reset all');
    push @seen, $db->selectrow_array("show work_mem"), state_of($db, sub { $db->do('select name from whose') });
    return \@seen;
}

sub notifications {
    my ($db, $n) = @_;
    $db->do("listen crowd$n");
    $db->do("notify crowd$n, 'hello'");
    my $heard = $db->pg_notifies;
    $db->do("unlisten crowd$n");
    return [$heard->[0], $heard->[2]];
}

sub catalogue {
    my ($db, $n) = @_;
    return [
        [map { $_->[3] } @{ $db->column_info(undef, 'public', 'item', undef)->fetchall_arrayref }],
        [$db->primary_key(undef, 'public', 'part')],
        [sort $db->tables(undef, 'public', undef, 'TABLE')],
    ];
}

my @steps = (
    prepared => \&prepared, names => \&names, types => \&types, transactions => \&transactions, errors => \&errors,
    async => \&async, copies => \&copies, 'last id' => \&last_id, 'last id in autocommit' => \&last_id_in_autocommit,
    'large objects' => \&large_objects, settings => \&settings, notifications => \&notifications, catalogue => \&catalogue,
);

tell_all(undef, 'versions', { 'DBD::Pg' => "$DBD::Pg::VERSION", Perl => sprintf('%vd', $^V) });
my $first = connected();
$first->do('create table item (client int, n int, body text, unique (client, n))');
$first->do('create table part (id serial primary key, client int, body text)');
$first->do(q{create schema tenant_a; create table tenant_a.whose as select 'of a' as name});
$first->disconnect;
for my $n (0 .. $clients - 1) {
    next if fork;
    my $db = connected();
    for (my $i = 0; $i < @steps; $i += 2) {
        my ($step, $work) = @steps[$i, $i + 1];
        my $answer = eval { $work->($db, $n) };
        die "client $n, $step: $@" if $@;
        tell_all($n, $step, $answer);
    }
    $db->disconnect;
    exit 0;
}
my $failed = 0;
while (wait > 0) { $failed = 1 if $? }
exit $failed;
