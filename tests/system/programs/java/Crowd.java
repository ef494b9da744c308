// 20 JDBC clients at once, one connection each, with pgjdbc's defaults or one of its usual parameters.
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.sql.*;
import java.util.*;
import java.util.concurrent.*;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;
import org.postgresql.largeobject.LargeObject;
import org.postgresql.largeobject.LargeObjectManager;

public class Crowd {
    // What people add to a JDBC URL; client n takes the one at n modulo their number.
    static final String[] VARIANTS = {
        "",
        "prepareThreshold=1",
        "prepareThreshold=1&autosave=always",
        "prepareThreshold=0",
        "reWriteBatchedInserts=true&defaultRowFetchSize=40",
    };

    interface Step {
        Object run(Connection c, int client) throws Exception;
    }

    public static void main(String[] arguments) throws Exception {
        String url = System.getenv("JDBC_URL");
        int clients = Integer.parseInt(System.getenv("CLIENTS"));
        Driver driver = DriverManager.getDriver(url);
        tell(null, "versions", Map.of(
            "pgjdbc", driver.getMajorVersion() + "." + driver.getMinorVersion() + "." + patch(),
            "Java", System.getProperty("java.version")));
        try (Connection c = DriverManager.getConnection(url); Statement s = c.createStatement()) {
            s.execute("create table part (id serial primary key, client int, n int, body text)");
            s.execute("create table line (client int, n int, body text, unique (client, n))");
            s.execute("create schema jdbc; create table jdbc.whose as select 'of jdbc' as name");
            s.execute("create function twice(n int) returns int language sql as 'select 2 * n'");
        }
        ExecutorService pool = Executors.newFixedThreadPool(clients);
        List<Future<?>> all = new ArrayList<>();
        for (int n = 0; n < clients; n++) {
            int client = n;
            all.add(pool.submit(() -> { crowd(url, client); return null; }));
        }
        try {
            for (Future<?> one : all) one.get();
        } finally {
            pool.shutdownNow();
        }
    }

    static String patch() {
        return Integer.toString(org.postgresql.util.DriverInfo.PATCH_VERSION);
    }

    static void crowd(String url, int client) throws Exception {
        String variant = VARIANTS[client % VARIANTS.length];
        Map<String, Step> steps = new LinkedHashMap<>();
        steps.put("prepared", Crowd::prepared);
        steps.put("types", Crowd::types);
        steps.put("batch", Crowd::batch);
        steps.put("failing batch", Crowd::failingBatch);
        steps.put("generated keys", Crowd::generatedKeys);
        steps.put("cursor", Crowd::cursor);
        steps.put("savepoints", Crowd::savepoints);
        steps.put("errors", Crowd::errors);
        steps.put("error in transaction", Crowd::errorInTransaction);
        steps.put("isolation", Crowd::isolation);
        steps.put("schema", Crowd::schema);
        steps.put("copy", Crowd::copy);
        steps.put("large object", Crowd::largeObject);
        steps.put("metadata", Crowd::metadata);
        steps.put("call", Crowd::call);
        steps.put("several results", Crowd::severalResults);
        steps.put("updatable", Crowd::updatable);
        steps.put("notification", Crowd::notification);
        steps.put("last value", Crowd::lastValue);
        steps.put("changed table", Crowd::changedTable);
        steps.put("cancel", Crowd::cancel);
        try (Connection c = DriverManager.getConnection(url + "&ApplicationName=client" + client + "&" + variant)) {
            for (Map.Entry<String, Step> step : steps.entrySet()) {
                try {
                    tell(client, step.getKey(), step.getValue().run(c, client));
                } catch (Exception e) {
                    throw new Exception("client " + client + " (" + variant + "), " + step.getKey(), e);
                }
            }
        }
    }

    static Object prepared(Connection c, int client) throws Exception {
        List<Object> seen = new ArrayList<>();
        try (PreparedStatement p = c.prepareStatement("select ? + ?, ?::text")) {
            for (int n = 0; n < 12; n++) {
                p.setInt(1, client);
                p.setInt(2, n);
                p.setString(3, "text " + n);
                try (ResultSet r = p.executeQuery()) {
                    r.next();
                    seen.add(List.of(r.getInt(1), r.getString(2)));
                }
            }
        }
        return seen;
    }

    static Object types(Connection c, int client) throws Exception {
        String sql = "select ?::int2, ?::int8, ?::float8, ?::numeric, ?::bool, ?::text, ?::bytea, ?::date,"
            + " ?::timestamp, ?::uuid, ?::int[], ?::jsonb, ?::text";
        List<Object> seen = new ArrayList<>();
        for (int turn = 0; turn < 7; turn++) {
            try (PreparedStatement p = c.prepareStatement(sql)) {
                p.setShort(1, (short) -client);
                p.setLong(2, 9007199254740993L);
                p.setDouble(3, 1.5);
                p.setBigDecimal(4, new BigDecimal("1.250"));
                p.setBoolean(5, true);
                p.setString(6, "größe");
                p.setBytes(7, new byte[] {0, (byte) 255});
                p.setDate(8, java.sql.Date.valueOf("2001-02-03"));
                p.setTimestamp(9, Timestamp.valueOf("2001-02-03 04:05:06.789"));
                p.setObject(10, new UUID(client, turn));
                p.setArray(11, c.createArrayOf("int4", new Object[] {1, null, 3}));
                p.setString(12, "{\"a\": [1, \"b\"]}");
                p.setNull(13, Types.VARCHAR);
                try (ResultSet r = p.executeQuery()) {
                    r.next();
                    seen.add(Arrays.asList(r.getShort(1), r.getLong(2), r.getDouble(3), r.getBigDecimal(4).toString(),
                        r.getBoolean(5), r.getString(6), Arrays.toString(r.getBytes(7)), r.getDate(8).toString(),
                        r.getTimestamp(9).toString(), r.getObject(10).toString(),
                        Arrays.toString((Object[]) r.getArray(11).getArray()), r.getString(12), r.getString(13)));
                }
            }
        }
        return seen;
    }

    static Object batch(Connection c, int client) throws Exception {
        c.setAutoCommit(false);
        int rows = 0;
        try (PreparedStatement p = c.prepareStatement("insert into line values (?, ?, ?)")) {
            for (int n = 0; n < 300; n++) {
                p.setInt(1, client);
                p.setInt(2, n);
                p.setString(3, "line " + n);
                p.addBatch();
            }
            rows = p.executeBatch().length;
        }
        c.commit();
        c.setAutoCommit(true);
        return List.of(rows, one(c, "select count(*) || ' ' || sum(n) from line where client = " + client));
    }

    static Object failingBatch(Connection c, int client) throws Exception {
        try (PreparedStatement p = c.prepareStatement("insert into line values (?, ?, ?)")) {
            for (int n : new int[] {1000, 1001, 5, 1002}) {
                p.setInt(1, client);
                p.setInt(2, n);
                p.setString(3, "again");
                p.addBatch();
            }
            p.executeBatch();
            return "no error";
        } catch (BatchUpdateException e) {
            return List.of(e.getSQLState(), Arrays.toString(e.getUpdateCounts()),
                one(c, "select count(*) from line where n >= 1000 and client = " + client));
        }
    }

    static Object generatedKeys(Connection c, int client) throws Exception {
        List<Object> seen = new ArrayList<>();
        for (int n = 0; n < 8; n++) {
            String sql = "insert into part (client, n, body) values (?, ?, 'body')";
            int key;
            try (PreparedStatement p = c.prepareStatement(sql, Statement.RETURN_GENERATED_KEYS)) {
                p.setInt(1, client);
                p.setInt(2, n);
                p.executeUpdate();
                try (ResultSet keys = p.getGeneratedKeys()) {
                    keys.next();
                    key = keys.getInt("id");
                }
            }
            seen.add(one(c, "select client || ' ' || n from part where id = " + key));
        }
        return seen;
    }

    static Object cursor(Connection c, int client) throws Exception {
        c.setAutoCommit(false);
        long rows = 0;
        long sum = 0;
        try (PreparedStatement p = c.prepareStatement("select n from generate_series(1, 1000) n where n > ?")) {
            for (int turn = 0; turn < 6; turn++) {
                p.setFetchSize(70);
                p.setInt(1, client);
                try (ResultSet r = p.executeQuery()) {
                    while (r.next()) {
                        rows++;
                        sum += r.getInt(1);
                    }
                }
                if (turn == 3) c.commit();
            }
        }
        // A cursor that is closed in the middle of its rows.
        try (Statement s = c.createStatement()) {
            s.setFetchSize(10);
            try (ResultSet r = s.executeQuery("select n from generate_series(1, 1000) n")) {
                r.next();
            }
        }
        c.commit();
        c.setAutoCommit(true);
        return List.of(rows, sum);
    }

    static Object savepoints(Connection c, int client) throws Exception {
        c.setAutoCommit(false);
        update(c, "insert into line values (" + client + ", 2000, 'kept')");
        Savepoint named = c.setSavepoint("here");
        update(c, "insert into line values (" + client + ", 2001, 'undone')");
        c.rollback(named);
        Savepoint unnamed = c.setSavepoint();
        String state = update(c, "insert into line values (" + client + ", 2000, 'twice')");
        c.rollback(unnamed);
        c.releaseSavepoint(named);
        update(c, "insert into line values (" + client + ", 2002, 'kept')");
        c.commit();
        c.setAutoCommit(true);
        return List.of(state, one(c, "select string_agg(n::text, ' ' order by n) from line where n >= 2000 and client = " + client));
    }

    static Object errors(Connection c, int client) throws Exception {
        return List.of(update(c, "select 1/0"), update(c, "selec"), update(c, "select * from nosuch"),
            update(c, "insert into line values (" + client + ", 5, 'twice')"), one(c, "select 'after'"));
    }

    // With autosave=always the transaction survives; without, it is aborted.
    static Object errorInTransaction(Connection c, int client) throws Exception {
        c.setAutoCommit(false);
        List<Object> seen = new ArrayList<>();
        seen.add(update(c, "insert into line values (" + client + ", 3000, 'first')"));
        seen.add(update(c, "insert into line values (" + client + ", 5, 'twice')"));
        seen.add(update(c, "insert into line values (" + client + ", 3001, 'second')"));
        try {
            c.commit();
            seen.add("committed");
        } catch (SQLException e) {
            seen.add(e.getSQLState());
            c.rollback();
        }
        c.setAutoCommit(true);
        seen.add(one(c, "select count(*) from line where n >= 3000 and client = " + client));
        return seen;
    }

    static Object isolation(Connection c, int client) throws Exception {
        List<Object> seen = new ArrayList<>();
        seen.add(c.getTransactionIsolation());
        c.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
        c.setAutoCommit(false);
        seen.add(one(c, "show transaction_isolation"));
        c.commit();
        seen.add(one(c, "show transaction_isolation"));
        c.commit();
        c.setReadOnly(true);
        seen.add(update(c, "insert into line values (" + client + ", 4000, 'no')"));
        c.rollback();
        c.setReadOnly(false);
        c.setAutoCommit(true);
        c.setReadOnly(true);
        seen.add(update(c, "insert into line values (" + client + ", 4001, 'no')"));
        c.setReadOnly(false);
        c.setTransactionIsolation(Connection.TRANSACTION_READ_COMMITTED);
        seen.add(one(c, "show transaction_isolation"));
        return seen;
    }

    static Object schema(Connection c, int client) throws Exception {
        List<Object> seen = new ArrayList<>();
        seen.add(c.getSchema());
        c.setSchema("jdbc");
        seen.add(c.getSchema());
        for (int turn = 0; turn < 7; turn++) seen.add(one(c, "select name from whose"));
        c.setSchema("public");
        seen.add(update(c, "select name from whose"));
        c.setClientInfo("ApplicationName", "crowd " + client);
        seen.add(one(c, "show application_name"));
        return seen;
    }

    static Object copy(Connection c, int client) throws Exception {
        CopyManager copies = c.unwrap(PGConnection.class).getCopyAPI();
        StringBuilder text = new StringBuilder();
        for (int n = 5000; n < 7000; n++) text.append(client).append('\t').append(n).append("\tcopied\n");
        byte[] bytes = text.toString().getBytes(StandardCharsets.UTF_8);
        long in = copies.copyIn("copy line from stdin", new ByteArrayInputStream(bytes));
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        long came = copies.copyOut("copy (select * from line where client = " + client
            + " and n >= 5000 order by n) to stdout", out);
        String state;
        try {
            copies.copyIn("copy line from stdin", new ByteArrayInputStream(bytes));
            state = "no error";
        } catch (SQLException e) {
            state = e.getSQLState();
        }
        return List.of(in, came, Arrays.equals(bytes, out.toByteArray()), state);
    }

    static Object largeObject(Connection c, int client) throws Exception {
        c.setAutoCommit(false);
        LargeObjectManager objects = c.unwrap(PGConnection.class).getLargeObjectAPI();
        long oid = objects.createLO(LargeObjectManager.READWRITE);
        try (LargeObject o = objects.open(oid, LargeObjectManager.READWRITE)) {
            o.write(("object of " + client).getBytes(StandardCharsets.UTF_8));
        }
        c.commit();
        String body;
        try (LargeObject o = objects.open(oid, LargeObjectManager.READ)) {
            body = new String(o.read(100), StandardCharsets.UTF_8);
        }
        objects.delete(oid);
        c.commit();
        c.setAutoCommit(true);
        return body;
    }

    static Object metadata(Connection c, int client) throws Exception {
        List<Object> seen = new ArrayList<>();
        DatabaseMetaData data = c.getMetaData();
        try (ResultSet r = data.getColumns(null, "public", "line", null)) {
            while (r.next()) seen.add(r.getString("COLUMN_NAME") + " " + r.getString("TYPE_NAME"));
        }
        try (ResultSet r = data.getPrimaryKeys(null, "public", "part")) {
            while (r.next()) seen.add(r.getString("PK_NAME"));
        }
        return seen;
    }

    static Object call(Connection c, int client) throws Exception {
        try (CallableStatement s = c.prepareCall("{? = call twice(?)}")) {
            List<Object> seen = new ArrayList<>();
            for (int n = 0; n < 7; n++) {
                s.registerOutParameter(1, Types.INTEGER);
                s.setInt(2, client + n);
                s.execute();
                seen.add(s.getInt(1));
            }
            return seen;
        }
    }

    static Object severalResults(Connection c, int client) throws Exception {
        List<Object> seen = new ArrayList<>();
        try (Statement s = c.createStatement()) {
            boolean rows = s.execute("select 1; update line set body = body where client = " + client + "; select 2, 3");
            while (rows || s.getUpdateCount() != -1) {
                if (rows) {
                    try (ResultSet r = s.getResultSet()) {
                        r.next();
                        seen.add(r.getInt(1));
                    }
                } else {
                    seen.add("updated " + s.getUpdateCount());
                }
                rows = s.getMoreResults();
            }
        }
        return seen;
    }

    static Object updatable(Connection c, int client) throws Exception {
        String sql = "select id, client, n, body from part where client = " + client + " order by n";
        try (Statement s = c.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_UPDATABLE);
                ResultSet r = s.executeQuery(sql)) {
            r.last();
            r.updateString("body", "changed by " + client);
            r.updateRow();
            r.first();
            r.deleteRow();
        }
        return one(c, "select string_agg(n || ' ' || body, ', ' order by n) from part where client = " + client);
    }

    static Object notification(Connection c, int client) throws Exception {
        PGConnection connection = c.unwrap(PGConnection.class);
        update(c, "listen crowd" + client);
        update(c, "notify crowd" + client + ", 'hello'");
        List<Object> seen = new ArrayList<>();
        for (var heard : connection.getNotifications(10000)) seen.add(heard.getName() + " " + heard.getParameter());
        update(c, "unlisten *");
        update(c, "notify crowd" + client + ", 'nobody'");
        var after = connection.getNotifications();
        seen.add(after == null ? 0 : after.length);
        return seen;
    }

    // In the driver, BEGIN and what follows it are one batch.
    static Object lastValue(Connection c, int client) throws Exception {
        List<Object> seen = new ArrayList<>();
        c.setAutoCommit(false);
        update(c, "insert into part (client, n) values (" + client + ", 100)");
        try (Statement s = c.createStatement(); ResultSet r = s.executeQuery("select lastval()")) {
            r.next();
            seen.add(one(c, "select client || ' ' || n from part where id = " + r.getInt(1)));
        }
        c.commit();
        c.setAutoCommit(true);
        return seen;
    }

    // A statement whose table has another type since: the driver parses it anew where PostgreSQL says 0A000.
    static Object changedTable(Connection c, int client) throws Exception {
        String table = "changing" + client;
        update(c, "create table " + table + " as select 1 as a");
        List<Object> seen = new ArrayList<>();
        try (PreparedStatement p = c.prepareStatement("select * from " + table)) {
            for (int n = 0; n < 12; n++) {
                if (n == 7) update(c, "alter table " + table + " alter a type text using 'text'");
                try (ResultSet r = p.executeQuery()) {
                    r.next();
                    seen.add(r.getString(1));
                } catch (SQLException e) {
                    seen.add(e.getSQLState());
                }
            }
        }
        update(c, "drop table " + table);
        return seen;
    }

    static Object cancel(Connection c, int client) throws Exception {
        if (client % 5 != 0) return "not tried";
        try (Statement s = c.createStatement()) {
            s.setQueryTimeout(1);
            s.execute("select pg_sleep(60)");
            return "no error";
        } catch (SQLException e) {
            return List.of(e.getSQLState(), one(c, "select 'after'"));
        }
    }

    // The SQLSTATE of a statement, or how many rows it changed.
    static String update(Connection c, String sql) throws SQLException {
        try (Statement s = c.createStatement()) {
            s.execute(sql);
            return Integer.toString(s.getUpdateCount());
        } catch (SQLException e) {
            if (e.getSQLState() == null || e.getSQLState().startsWith("08")) throw e;
            return e.getSQLState();
        }
    }

    static String one(Connection c, String sql) throws SQLException {
        try (Statement s = c.createStatement(); ResultSet r = s.executeQuery(sql)) {
            r.next();
            return r.getString(1);
        }
    }

    static synchronized void tell(Integer client, String step, Object answer) {
        System.out.println("[" + client + ", " + json(step) + ", " + json(answer) + "]");
    }

    static String json(Object value) {
        if (value == null || value instanceof Number || value instanceof Boolean) return String.valueOf(value);
        StringJoiner parts;
        if (value instanceof List<?> list) {
            parts = new StringJoiner(", ", "[", "]");
            for (Object part : list) parts.add(json(part));
            return parts.toString();
        }
        if (value instanceof Map<?, ?> map) {
            parts = new StringJoiner(", ", "{", "}");
            for (Map.Entry<?, ?> e : new TreeMap<>(map).entrySet()) parts.add(json(e.getKey()) + ": " + json(e.getValue()));
            return parts.toString();
        }
        StringBuilder text = new StringBuilder("\"");
        for (char c : value.toString().toCharArray()) {
            if (c == '"' || c == '\\') text.append('\\').append(c);
            else if (c < ' ' || c > '~') text.append(String.format("\\u%04x", (int) c));
            else text.append(c);
        }
        return text.append('"').toString();
    }
}
