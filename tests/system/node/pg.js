// node-postgres with its defaults: a single client, its pool, named statements, errors, notices, notifications.
import pg from 'pg'
import { digest, numbers, outcome, report, saidIn } from './report.js'

const connectionString = process.env.DATABASE_URL

async function connected(work, options = {}) {
  const client = new pg.Client({ connectionString, ...options })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

const plain = result => ({ command: result.command, rowCount: result.rowCount, rows: result.rows })

const queries = () => connected(async client => ({
  sum: plain(await client.query('select $1::int + 1 as n', [41])),
  oids: (await client.query('select id, name from item limit 0')).fields.map(f => [f.name, f.dataTypeID]),
  items: (await client.query('select id, name from item order by id')).rows,
  application: (await client.query('show application_name')).rows,
  several: (await client.query('select 1 as a; select 2 as b')).map(plain),
  nothing: (await client.query('')).rows
}), { application_name: 'node-postgres' })

const types = () => connected(async client => {
  const { rows: [row] } = await client.query(
    `select $1::int2 as int2, $2::int8 as int8, $3::float8 as float8, $4::numeric as numeric, $5::bool as bool,
      $6::text as text, $7::text as nothing, $8::bytea as bytea, $9::timestamptz as instant, $10::int[] as list,
      $11::jsonb as document`,
    [-7, '9007199254740993', 1.5, '1.250', true, 'größe', null, Buffer.from('00ff', 'hex'),
      new Date('2001-02-03T04:05:06.789Z'), [1, null, 3], { a: [1, 'b'] }])
  return { ...row, bytea: row.bytea.toString('hex') }
})

const namedStatements = () => connected(async client => {
  const answers = []
  for (const n of numbers(5)) {
    const named = { name: 'plus', text: 'select $1::int + $2::int as n', values: [n, 1] }
    answers.push((await client.query(named)).rows[0].n)
  }
  return answers
})

const errors = () => connected(async client => {
  const violation = await client.query("insert into item values (1, 'twice')").catch(error => error)
  return {
    division: await outcome(client.query('select 1/0')),
    syntax: await outcome(client.query('selec')),
    violation: { ...saidIn(violation), table: violation.table, constraint: violation.constraint, detail: violation.detail },
    after: (await client.query('select 1 as n')).rows
  }
})

const transactions = () => connected(async client => {
  const count = async () => (await client.query("select body from note where body like 'pg %' order by body")).rows
  const answers = {}
  await client.query('begin')
  await client.query('insert into note values ($1, $2)', [1, 'pg undone'])
  answers.inside = await count()
  answers.rollback = (await client.query('rollback')).command
  answers.undone = await count()
  await client.query('begin')
  await client.query('insert into note values ($1, $2)', [1, 'pg failed'])
  answers.failure = await outcome(client.query('select 1/0'))
  answers.failed = await outcome(client.query('select 1'))
  answers.commitOfFailed = (await client.query('commit')).command
  await client.query('begin')
  await client.query('insert into note values ($1, $2)', [1, 'pg kept'])
  answers.commit = (await client.query('commit')).command
  answers.kept = await count()
  return answers
})

const queued = () => connected(client => Promise.all(numbers(50).map(n =>
  outcome(client.query('select 100 / $1::int as n', [n % 10]), result => result.rows[0].n))))

const large = () => connected(async client => {
  const { rows } = await client.query("select n, repeat(chr(97 + n % 26), 1000) as body from generate_series(1, 20000) n")
  const parameter = 'x'.repeat(3000000)
  return {
    rows: rows.length,
    ordered: rows.every((row, n) => row.n === n + 1),
    digest: digest(rows.map(row => row.body)),
    parameter: (await client.query('select length($1) as length, md5($1) as md5', [parameter])).rows[0]
  }
})

async function pool() {
  const clients = new pg.Pool({ connectionString, max: 20 })
  const work = async n => {
    const client = await clients.connect()
    try {
      await client.query('begin')
      await client.query('insert into ledger values ($1, $2)', ['pg pool', n])
      const { rows } = await client.query('select $1::int as n', [n])
      await client.query(n % 2 ? 'rollback' : 'commit')
      return rows[0].n
    } finally {
      client.release()
    }
  }
  const answers = await Promise.all(numbers(200).map(work))
  await clients.end()
  return answers
}

const notices = () => connected(async client => {
  const heard = []
  client.on('notice', notice => heard.push({ severity: notice.severity, message: notice.message }))
  return { rows: (await client.query('select shout() as n')).rows, heard }
})

const notifications = () => connected(listener => connected(async speaker => {
  const heard = new Promise(resolve => listener.once('notification', resolve))
  await listener.query('listen news')
  await speaker.query("notify news, 'hello'")
  const { channel, payload } = await heard
  return { channel, payload }
}))

async function refused() {
  const said = async change => {
    const url = new URL(connectionString)
    change(url)
    return outcome(new pg.Client({ connectionString: url.href }).connect())
  }
  return {
    password: await said(url => { url.password = 'wrong' }),
    database: await said(url => { url.pathname = '/nosuch' })
  }
}

await report([
  queries, types, namedStatements, errors, transactions, queued, large, pool, notices, notifications, refused
])
