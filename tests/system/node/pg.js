// node-postgres with its defaults: a single client, its pool, named statements, errors, a cancelled query.
import assert from 'node:assert/strict'
import pg from 'pg'

const connectionString = process.env.DATABASE_URL

async function oneClient() {
  const client = new pg.Client({ connectionString, application_name: 'node-postgres' })
  await client.connect()
  assert.equal((await client.query('select $1::int + 1 as n', [41])).rows[0].n, 42)
  assert.equal((await client.query('select count(*)::int as n from item')).rows[0].n, 100)
  assert.equal((await client.query('show application_name')).rows[0].application_name, 'node-postgres')
  await client.query('begin')
  await client.query('insert into note values ($1, $2)', [1, 'node'])
  await client.query('rollback')
  await assert.rejects(client.query('select 1/0'), { code: '22012' })
  const several = await client.query('select 1 as a; select 2 as b')
  assert.deepEqual(several.map(result => result.rows), [[{ a: 1 }], [{ b: 2 }]])
  for (let n = 0; n < 5; n++) {
    const named = { name: 'plus', text: 'select $1::int + $2::int as n', values: [n, 1] }
    assert.equal((await client.query(named)).rows[0].n, n + 1)
  }
  await client.end()
}

async function queuedQueries() {
  const client = new pg.Client({ connectionString })
  await client.connect()
  const answers = await Promise.all(Array.from({ length: 50 }, (_, n) => client.query('select $1::int as n', [n])))
  assert.deepEqual(answers.map(answer => answer.rows[0].n), Array.from({ length: 50 }, (_, n) => n))
  await client.end()
}

async function pool() {
  const clients = new pg.Pool({ connectionString, max: 20 })
  const work = async n => {
    const client = await clients.connect()
    try {
      await client.query('begin')
      const { rows } = await client.query('select $1::int as n', [n])
      await client.query('commit')
      return rows[0].n
    } finally {
      client.release()
    }
  }
  const answers = await Promise.all(Array.from({ length: 200 }, (_, n) => work(n)))
  assert.deepEqual(answers, Array.from({ length: 200 }, (_, n) => n))
  await clients.end()
}

async function notifications() {
  const listener = new pg.Client({ connectionString })
  await listener.connect()
  const heard = new Promise(resolve => listener.once('notification', resolve))
  await listener.query('listen news')
  const speaker = new pg.Client({ connectionString })
  await speaker.connect()
  await speaker.query("notify news, 'hello'")
  assert.equal((await heard).payload, 'hello')
  await Promise.all([listener.end(), speaker.end()])
}

async function refused() {
  const wrong = new URL(connectionString)
  wrong.password = 'wrong'
  const client = new pg.Client({ connectionString: wrong.href })
  await assert.rejects(client.connect(), { code: '28P01' })
}

for (const test of [oneClient, queuedQueries, pool, notifications, refused]) {
  await test()
  console.log('ok', test.name)
}
