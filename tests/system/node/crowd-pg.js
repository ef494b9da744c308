// 20 clients of node-postgres's pool at once, for tests/system/programs.
import { readFileSync } from 'node:fs'
import pg from 'pg'
import { crowd, numbers, outcome, tell } from './report.js'

const clients = Number(process.env.CLIENTS)
const connectionString = process.env.DATABASE_URL
const pool = new pg.Pool({ connectionString, max: clients })

async function held(work) {
  const client = await pool.connect()
  try {
    return await work(client)
  } finally {
    client.release()
  }
}

async function prepared(n) {
  const seen = []
  for (const turn of numbers(8)) {
    seen.push((await pool.query('select $1::int + $2::int as sum', [n, turn])).rows[0].sum)
    seen.push((await pool.query({ name: 'minus', text: 'select $1::int - $2::int as n', values: [n, turn] })).rows[0].n)
  }
  return seen
}

const transaction = n => held(async client => {
  const insert = number => client.query('insert into line values ($1, $2, $3)', [n, number, 'body'])
  await client.query('begin')
  await insert(1)
  await client.query('savepoint here')
  const failed = await outcome(insert(1))
  const aborted = await outcome(client.query('select 1'))
  await client.query('rollback to here')
  await insert(2)
  await client.query('commit')
  await client.query('begin isolation level serializable')
  const level = (await client.query('show transaction_isolation')).rows[0]
  await insert(3)
  await client.query('rollback')
  return { failed, aborted, level, rows: (await client.query('select n from line where client = $1 order by n', [n])).rows }
})

async function pooled(n) {
  const all = await Promise.all(numbers(20).map(turn => outcome(
    pool.query('select $1::int / $2::int as n', [100 * n, turn % 5]), result => result.rows[0].n)))
  return all
}

async function settings(n) {
  const client = new pg.Client({
    connectionString, application_name: `client ${n}`, statement_timeout: 5000 + n, options: '-c search_path=tenant_a,public'
  })
  await client.connect()
  const seen = []
  for (const turn of numbers(3)) {
    await client.query(`set work_mem to '${8 + turn}MB'`)
    seen.push((await client.query(`select name, current_setting('work_mem') as memory, current_setting('application_name')
      as application, current_setting('statement_timeout') as timeout from whose`)).rows)
  }
  await client.end()
  return seen
}

const listening = n => held(async client => {
  const heard = new Promise(resolve => client.once('notification', resolve))
  await client.query(`listen crowd${n}`)
  await pool.query(`notify crowd${n}, 'hello'`)
  const { channel, payload } = await heard
  await client.query(`unlisten crowd${n}`)
  return { channel, payload }
})

const temporary = n => held(async client => {
  await client.query('create temporary table mine (n int)')
  await client.query('insert into mine values ($1)', [n])
  const { rows } = await client.query('select n from mine')
  await client.query('drop table mine')
  return rows
})

tell(null, 'versions', { pg: JSON.parse(readFileSync('node_modules/pg/package.json')).version, 'Node.js': process.versions.node })
await pool.query(`create table line (client int, n int, body text, unique (client, n));
  create schema tenant_a; create table tenant_a.whose as select 'of a' as name`)
await crowd(clients, [prepared, transaction, pooled, settings, listening, temporary])
await pool.end()
