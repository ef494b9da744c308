// Postgres.js with its defaults: named statements, pipelines, transactions, COPY streams, cursors, cancelling.
import assert from 'node:assert/strict'
import { pipeline } from 'node:stream/promises'
import { Readable } from 'node:stream'
import postgres from 'postgres'

const url = process.env.DATABASE_URL

async function queries() {
  const sql = postgres(url, { max: 3 })
  assert.equal((await sql`select ${41}::int + 1 as n`)[0].n, 42)
  const answers = await Promise.all(Array.from({ length: 100 }, (_, n) => sql`select ${n}::int as n`))
  assert.deepEqual(answers.map(rows => rows[0].n), Array.from({ length: 100 }, (_, n) => n))
  await assert.rejects(sql`select 1/0`, { code: '22012' })
  assert.equal((await sql`select count(*)::int as n from item`)[0].n, 100)
  await sql.end()
}

async function transactions() {
  const sql = postgres(url, { max: 2 })
  await sql.begin(async tx => {
    await tx`insert into note values (1, 'postgres.js')`
    await tx.savepoint(inner => inner`select 1`)
  })
  await assert.rejects(sql.begin(async tx => {
    await tx`insert into note values (2, 'undone')`
    throw new Error('no')
  }), { message: 'no' })
  assert.equal((await sql`select count(*)::int as n from note where body = 'undone'`)[0].n, 0)
  await sql.end()
}

async function unprepared() {
  const sql = postgres(url, { max: 10, prepare: false })
  const answers = await Promise.all(Array.from({ length: 200 }, (_, n) => sql`select ${n}::int as n`))
  assert.deepEqual(answers.map(rows => rows[0].n), Array.from({ length: 200 }, (_, n) => n))
  await sql.end()
}

async function copies() {
  const sql = postgres(url, { max: 1 })
  await sql`truncate note`
  const writable = await sql`copy note from stdin`.writable()
  await pipeline(Readable.from(Array.from({ length: 1000 }, (_, n) => `${n}\trow\n`)), writable)
  const readable = await sql`copy note to stdout`.readable()
  let lines = 0
  for await (const chunk of readable) lines += chunk.toString().split('\n').length - 1
  assert.equal(lines, 1000)
  await sql.end()
}

async function cursors() {
  const sql = postgres(url, { max: 1 })
  let seen = 0
  for await (const rows of sql`select n from generate_series(1, 1000) n`.cursor(100)) seen += rows.length
  assert.equal(seen, 1000)
  await sql.end()
}

async function cancelling() {
  const sql = postgres(url, { max: 1 })
  const query = sql`select pg_sleep(30)`
  setTimeout(() => query.cancel(), 300)
  await assert.rejects(query, { code: '57014' })
  assert.equal((await sql`select 1 as n`)[0].n, 1)
  await sql.end()
}

async function notifications() {
  const sql = postgres(url, { max: 2 })
  let hear
  const heard = new Promise(resolve => { hear = resolve })
  await sql.listen('news', hear)
  await sql.notify('news', 'hello')
  assert.equal(await heard, 'hello')
  await sql.end()
}

for (const test of [queries, transactions, unprepared, copies, cursors, cancelling, notifications]) {
  await test()
  console.log('ok', test.name)
}
