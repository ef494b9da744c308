// What both programs share. They judge nothing: they tell what they got, and the test compares.
import { createHash } from 'node:crypto'

export const numbers = count => Array.from({ length: count }, (_, n) => n)

// A large value or many of them as something short that can be compared.
export function digest(texts) {
  const hash = createHash('sha256')
  for (const text of texts) hash.update(text)
  return hash.digest('hex')
}

// What PostgreSQL or the proxy said in an error; whatever else went wrong ends the program.
export function saidIn(error) {
  if (!/^[0-9A-Z]{5}$/.test(error.code ?? '')) throw error
  return { severity: error.severity, code: error.code, message: error.message }
}

// The answer to a promise, or what was said when it failed.
export const outcome = (promise, pick) => promise.then(pick, saidIn)

// Run the steps one after the other; print a line of JSON for each: its name and its answer.
export async function report(steps) {
  for (const step of steps) console.log(JSON.stringify([step.name, await step()]))
}

// For a crowd: what a client told of itself.
export const tell = (client, step, answer) => console.log(JSON.stringify([client, step, answer]))

// The clients of a crowd, all at once; each runs the steps one after the other.
export const crowd = (clients, steps, ...given) => Promise.all(numbers(clients).map(async client => {
  for (const step of steps) tell(client, step.name, await step(client, ...given))
}))
