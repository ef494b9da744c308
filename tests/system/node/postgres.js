// Postgres.js with its defaults: named statements, pipelines, transactions, COPY streams, cursors, cancelling.
import { pipeline } from 'node:stream/promises'
import { Readable } from 'node:stream'
import postgres from 'postgres'
import { digest, numbers, outcome, report } from './report.js'

async function connected(options, work) {
  const sql = postgres(process.env.DATABASE_URL, options)
  try {
    return await work(sql)
  } finally {
    await sql.end()
  }
}

const plain = result => ({ command: result.command, count: result.count, rows: [...result] })

const queries = () => connected({ max: 3 }, async sql => ({
  sum: plain(await sql`select ${41}::int + 1 as n`),
  oids: (await sql`select id, name from item limit 0`).columns.map(column => [column.name, column.type]),
  items: [...await sql`select id, name from item order by id`],
  application: [...await sql`show application_name`],
  several: (await sql.unsafe('select 1 as a; select 2 as b')).map(plain)
}))

const types = () => connected({ max: 1 }, async sql => {
  const [row] = await sql`
    select ${-7}::int2 as int2, ${'9007199254740993'}::int8 as int8, ${1.5}::float8 as float8,
      ${'1.250'}::numeric as numeric, ${true}::bool as bool, ${'größe'}::text as text, ${null}::text as nothing,
      ${Buffer.from('00ff', 'hex')}::bytea as bytea, ${new Date('2001-02-03T04:05:06.789Z')}::timestamptz as instant,
      ${[1, null, 3]}::int[] as list, ${sql.json({ a: [1, 'b'] })} as document`
  return { ...row, bytea: row.bytea.toString('hex') }
})

// One connection takes them all before it has answered any; those that fail take no other along.
const pipelined = () => connected({ max: 1 }, sql => Promise.all(numbers(100).map(n =>
  outcome(sql`select 100 / ${n % 10}::int as n`, rows => rows[0].n))))

const unprepared = () => connected({ max: 10, prepare: false }, sql => Promise.all(numbers(200).map(n =>
  sql`select ${n}::int as n`.then(rows => rows[0].n))))

const transactions = () => connected({ max: 2 }, async sql => {
  const kept = await sql.begin(async tx => {
    await tx`insert into note values (1, 'postgres kept')`
    const inner = await outcome(tx.savepoint(async sp => {
      await sp`insert into note values (1, 'postgres savepoint')`
      await sp`select 1/0`
    }))
    return { inner, rows: [...await tx`select body from note where body like 'postgres %'`] }
  })
  const undone = await sql.begin(async tx => {
    await tx`insert into note values (2, 'postgres undone')`
    throw new Error('no')
  }).catch(error => error.message)
  const failed = await outcome(sql.begin(async tx => {
    await tx`insert into note values (3, 'postgres failed')`
    await tx`insert into item values (1, 'twice')`
  }))
  return { kept, undone, failed, rows: [...await sql`select body from note where body like 'postgres %'`] }
})

const large = () => connected({ max: 1 }, async sql => {
  const rows = await sql`select n, repeat(chr(97 + n % 26), 1000) as body from generate_series(1, 20000) n`
  const parameter = 'x'.repeat(3000000)
  return {
    rows: rows.length,
    ordered: rows.every((row, n) => row.n === n + 1),
    digest: digest(rows.map(row => row.body)),
    parameter: (await sql`select length(${parameter}) as length, md5(${parameter}) as md5`)[0]
  }
})

const copies = () => connected({ max: 1 }, async sql => {
  await sql`create temporary table copied (id int, body text)`
  const lines = numbers(50000).map(n => `${n}\trow ${n}\n`)
  await pipeline(Readable.from(lines), await sql`copy copied from stdin`.writable())
  // No more than its stream's buffer holds: past that this driver pauses its socket and may not go on.
  const some = sql`copy (select * from copied where id % 100 = 0 order by id) to stdout`
  const came = []
  for await (const chunk of await some.readable()) came.push(chunk)
  return {
    came: Buffer.concat(came).toString(),
    table: (await sql`select count(*)::int as rows, sum(id)::int as sum from copied`)[0]
  }
})

const cursors = () => connected({ max: 1 }, async sql => {
  const seen = []
  for await (const rows of sql`select n from generate_series(1, 1000) n`.cursor(300)) {
    seen.push([rows.length, rows[0].n, rows.at(-1).n])
  }
  const left = []
  for await (const rows of sql`select n from generate_series(1, 1000) n`.cursor(10)) {
    left.push(rows.length)
    if (left.length === 2) break
  }
  return { seen, left, after: [...await sql`select 1 as n`] }
})

const cancelling = () => connected({ max: 1 }, sql => connected({ max: 1 }, async watcher => {
  const query = sql`select pg_sleep(30)`
  const said = outcome(query)
  const running = () => watcher`
    select 1 from pg_stat_activity where state = 'active' and query like ${'%pg_sleep(30)%'}`
  while ((await running()).length === 0);
  query.cancel()
  return { said: await said, after: [...await sql`select 1 as n`] }
}))

const notices = () => {
  const heard = []
  const onnotice = notice => heard.push({ severity: notice.severity, message: notice.message })
  return connected({ max: 1, onnotice }, async sql => ({ rows: [...await sql`select shout() as n`], heard }))
}

const notifications = () => connected({ max: 2 }, async sql => {
  let hear
  const heard = new Promise(resolve => { hear = resolve })
  await sql.listen('news', hear)
  await sql.notify('news', 'hello')
  return heard
})

const refused = () => connected({ max: 1, password: 'wrong' }, sql => outcome(sql`select 1`))

await report([
  queries, types, pipelined, unprepared, transactions, large, copies, cursors, cancelling, notices, notifications, refused
])
