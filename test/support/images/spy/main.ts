/** Tries, as an agent, what the sandbox must refuse. The task says what: the doors one by one, or one of the bombs. */
import { connect } from '../../../../hub/client/agent.ts'
import { type Attempt, fall, type Outside, tryDoors } from './attempts.ts'
import * as bombs from './bombs.ts'
import { canCall, tryCalls, trySockets } from './calls.ts'
import { git } from './own-name.ts'

async function doors(outside: Outside): Promise<Record<string, string>> {
  const all: Attempt[] = [...(await tryDoors(outside)), ...(canCall() ? [...tryCalls(), ...trySockets()] : [])]
  for (const [id, got] of all) console.log(JSON.stringify({ id, got }))
  return Object.fromEntries(all)
}

const hub = await connect()
hub.onTask(async ({ params }) => {
  const what = String(params.what ?? process.argv[2])
  await hub.log(`about to try: ${what}`)
  if (what === 'doors') return doors(params.outside as Outside)
  if (what === 'fall') return fall(params.outside as Outside)
  const bomb = new Map<string, () => unknown>(Object.entries({ ...bombs, git })).get(what)
  if (bomb === undefined) throw new Error(`nothing is called ${what}`)
  return bomb()
})
