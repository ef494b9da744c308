// 20 connections of Postgres.js at once, which prepares by name and pipelines, for tests/system/programs.
import { readFileSync } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { Readable } from 'node:stream'
import postgres from 'postgres'
import { crowd, numbers, outcome, tell } from './report.js'

const clients = Number(process.env.CLIENTS)
const sql = postgres(process.env.DATABASE_URL, { max: clients, onnotice: () => {} })

async function prepared(n) {
  const seen = []
  for (const turn of numbers(8)) seen.push((await sql`select ${n}::int + ${turn}::int as sum`)[0].sum)
  return seen
}

const pipelined = n => Promise.all(numbers(30).map(turn =>
  outcome(sql`select ${100 * n}::int / ${turn % 5}::int as n`, rows => rows[0].n)))

async function transaction(n) {
  const done = await sql.begin(async tx => {
    await tx`insert into line values (${n}, 1, 'body')`
    const inner = await outcome(tx.savepoint(async sp => {
      await sp`insert into line values (${n}, 2, 'undone')`
      await sp`insert into line values (${n}, 1, 'twice')`
    }))
    await tx`insert into line values (${n}, 3, 'body')`
    return inner
  })
  const failed = await outcome(sql.begin('isolation level serializable', async tx => {
    await tx`insert into line values (${n}, 4, 'undone')`
    await tx`select 1/0`
  }))
  return { done, failed, rows: [...await sql`select n from line where client = ${n} order by n`] }
}

async function copies(n) {
  const lines = numbers(1000).map(number => `${n}\t${100 + number}\tcopied\n`)
  // On a connection of its own: on a shared one Postgres.js may send somebody else's query into the COPY, which
  // PostgreSQL ends the connection for.
  const mine = await sql.reserve()
  await pipeline(Readable.from(lines), await mine`copy line from stdin`.writable())
  mine.release()
  return [...await sql`select count(*)::int, sum(n)::int from line where client = ${n} and n >= 100`]
}

async function cursors(n) {
  const seen = []
  for await (const rows of sql`select n from generate_series(1, 500) n where n > ${n}`.cursor(70)) {
    seen.push([rows.length, rows.at(-1).n])
  }
  return seen
}

async function many(n) {
  const rows = numbers(100).map(number => ({ client: n, n: 2000 + number, body: 'many' }))
  await sql`insert into line ${sql(rows)}`
  return [...await sql`select count(*)::int from line where client = ${n} and n >= 2000`]
}

async function reserved(n) {
  const mine = await sql.reserve()
  await mine`set work_mem to '9MB'`
  const seen = []
  for (const turn of numbers(3)) seen.push([...await mine`select current_setting('work_mem') as memory, ${turn}::int as turn`])
  await mine`reset work_mem`
  mine.release()
  return seen
}

async function listening(n) {
  let hear
  const heard = new Promise(resolve => { hear = resolve })
  const { unlisten } = await sql.listen(`crowd${n}`, hear)
  await sql.notify(`crowd${n}`, 'hello')
  const payload = await heard
  await unlisten()
  return payload
}

tell(null, 'versions', {
  'Postgres.js': JSON.parse(readFileSync('node_modules/postgres/package.json')).version, 'Node.js': process.versions.node
})
await sql.unsafe(`create table line (client int, n int, body text, unique (client, n))`)
await crowd(clients, [prepared, pipelined, transaction, copies, cursors, many, reserved, listening])
await sql.end()
