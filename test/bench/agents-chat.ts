/**
 * `chatIdleMb`: what a chat costs while it waits for its next prompt. Its program is the stub, so this is the box, Node and the shim: what a real
 * program adds is its own. Each chat has had one turn.
 */
import { resolve } from 'node:path'
import { sleep } from '../../hub/client/cli/processes.ts'
import { assembleImages } from '../../scripts/images/assembly.ts'
import { openContainerHome, until } from '../support/container-home.ts'
import { load } from '../support/spy-image.ts'
import { rssMb } from './bench-hub.ts'
import { containerMb } from './engine-counts.ts'
import type { Figure } from './run.ts'
import { spreadOf } from './spread.ts'

const root = resolve(import.meta.dirname, '../..')
const CHATS = 6
const IDLE_MS = 5_000
const SCRIPT = [
  { op: 'prompt' },
  { op: 'turn', text: '{prompt}' },
  { op: 'turn', stopReason: 'end_turn' },
  { op: 'prompt' },
]

export async function benchChat(say: (line: string) => void): Promise<Figure[]> {
  const options = { root, cacheDir: `${root}/.cache/images`, folders: ['images/echo'], prefix: 'hub-test/' }
  await load(assembleImages(options))
  const card = { name: 'bench-chat', description: 'rests', image: 'hub-test/echo', mode: 'chat', driver: 'stub' }
  const home = await openContainerHome({ cards: [{ ...card, run: ['{param:script}'] }] })
  try {
    await sleep(IDLE_MS)
    const before = rssMb(home.hubPid)
    const sessions: { id: string; containerId: string }[] = []
    for (let at = 0; at < CHATS; at += 1) {
      const session = await home.place('bench-chat', { script: JSON.stringify(SCRIPT) })
      sessions.push(session)
      await home.door.call('session.say', { id: session.id, prompt: 'hello' })
    }
    const rests = async () => await Promise.all(sessions.map(({ id }) => home.session(id)))
    const turns = () => Promise.all(sessions.map(({ id }) => home.door.call('session.turns', { id })))
    await until('each has had its turn', turns, (all) => all.every(({ turns: [one] }) => one?.state === 'done'))
    await until('all of them wait', rests, (all) => all.every(({ state }) => state === 'ready'))
    await sleep(IDLE_MS)
    const each = spreadOf(await Promise.all(sessions.map(({ containerId }) => containerMb(containerId))), 1)
    const hub = (rssMb(home.hubPid) - before) / CHATS
    say(`${CHATS} chats that wait: ${each.text} MiB each; the hub ${hub.toFixed(1)} MiB more for each`)
    const figure = (key: string, value: number, text: string): Figure => ({
      ...{ key, value: Math.round(value * 10) / 10, unit: 'MiB', text },
    })
    return [
      figure('chatIdleMb', each.median, `a chat that waits, as the engine counts its container; ${each.text}`),
      figure('chatHubMb', hub, `what the hub grows for each of ${CHATS} chats, all that their commands cost included`),
    ]
  } finally {
    await home.close()
  }
}
