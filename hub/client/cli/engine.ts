/**
 * The command's last resort if hub and watchdog are dead: it stops this home's containers itself, over the engine's socket.
 * Only containers with the label `hub.instance=<home>/instance` are listed or touched. A container is gone when the engine says so.
 */

import { readFileSync } from 'node:fs'
import { judgeRemains, processesOf, type Remains, seesAll } from '../../base/container-processes.ts'
import { deniedLine, deniedWords, isDenied } from '../../base/engine-door.ts'
import { agreeApi, isApiRefused } from '../../base/engine-versions.ts'
import { http } from '../../base/node-http.ts'
import { watchdogWord } from '../../base/watchdog-words.ts'
import type { StoppedContainer, StopView } from '../answers.ts'
import { Problem } from '../problem.ts'
import type { Paths } from './home.ts'
import { sleep } from './processes.ts'

export interface Found {
  id: string
  /** created, running, paused, restarting, removing, exited, dead. */
  state: string
  name: string
  session: string | null
}

/** The prefix of each path, once the engine was asked. Without a version the engine uses its own newest. */
let spoken: string | undefined
const VERSION_MS = 2_000
/** One container takes at most four calls, so an engine that hangs on it costs less than a minute. */
const CALL_MS = 10_000
const GRACE_SECONDS = 5
/** Looks at one container after its removal was asked for. */
const LOOKS_MAX = 8
const LOOK_MS = 500

interface Answered {
  status: number
  body: string
}

/** Uses the newest API version that both know. If there is none or the engine refuses it, uses none: a stop must go through. */
async function request(socketPath: string, method: string, path: string, deadlineMs: number): Promise<Answered> {
  spoken ??= await send(socketPath, 'GET', '/version', VERSION_MS).then(
    ({ body }) => {
      const found = agreeApi(jsonOf(body))
      return 'api' in found ? `/v${found.api}` : ''
    },
    () => '',
  )
  const prefix = spoken
  const answer = await send(socketPath, method, prefix + path, deadlineMs)
  if (prefix === '' || !isApiRefused(answer.status, answer.body)) return answer
  spoken = ''
  return send(socketPath, method, path, deadlineMs)
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function send(socketPath: string, method: string, path: string, deadlineMs: number): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const call = http.request({ socketPath, method, path, agent: false, headers: { host: 'localhost' } })
    const deadline = setTimeout(() => call.destroy(new Error(`no answer within ${deadlineMs / 1000} s`)), deadlineMs)
    call.on('close', () => clearTimeout(deadline))
    call.on('error', reject)
    call.on('response', (response) => {
      let body = ''
      response.setEncoding('utf8')
      response.on('data', (part: string) => {
        body += part
        if (body.length > 16 * 1024 * 1024) call.destroy(new Error('its answer is too large'))
      })
      response.on('error', reject)
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }))
    })
    call.end()
  })
}

/** The socket of this home's engine: from the watchdog's configuration, else the usual path. */
export function engineSocketOf({ home }: Paths): string {
  return watchdogWord(home, 'engine.socket') ?? '/var/run/docker.sock'
}

const instanceOf = (paths: Paths): string => {
  const text = readFileSync(paths.instance, 'utf8').trim()
  // An empty or odd label value could match more than ours.
  if (!/^[0-9a-f-]{36}$/.test(text)) {
    throw new Problem(
      'not_stopped',
      'fault',
      `${paths.instance} does not hold an instance id`,
      'restore it from a backup',
    )
  }
  return text
}

/** The engine answered, and refused. */
class Refusal extends Error {}

/** What of a container still runs, by the engine's state of it and by the processes of this machine (fault A6). */
export async function remainsOf(paths: Paths, { id, state }: Pick<Found, 'id' | 'state'>): Promise<Remains> {
  const found = processesOf(id)
  if (found === undefined || found.length > 0) return judgeRemains(state, found)
  try {
    const { body } = await request(engineSocketOf(paths), 'GET', '/info', CALL_MS)
    const { KernelVersion, MemTotal } = JSON.parse(body) as { KernelVersion?: unknown; MemTotal?: unknown }
    const isWhole = seesAll({ kernel: String(KernelVersion), memoryBytes: Number(MemTotal) })
    return judgeRemains(state, isWhole ? found : undefined)
  } catch {
    return judgeRemains(state, undefined)
  }
}

/** The containers of this home, in any state. @throws Problem if the engine does not answer */
export async function listContainers(paths: Paths): Promise<Found[]> {
  const socket = engineSocketOf(paths)
  const filters = encodeURIComponent(JSON.stringify({ label: [`hub.instance=${instanceOf(paths)}`] }))
  try {
    const { status, body } = await request(socket, 'GET', `/containers/json?all=1&filters=${filters}`, CALL_MS)
    if (status !== 200) throw new Refusal(`${status}: ${body.slice(0, 200)}`)
    const rows = JSON.parse(body) as { Id: string; State?: string; Names?: string[]; Labels?: Record<string, string> }[]
    return rows.map(({ Id, State, Names, Labels }) => ({
      id: Id,
      state: String(State),
      name: (Names?.[0] ?? Id.slice(0, 12)).replace(/^\//, ''),
      session: Labels?.['hub.session'] ?? null,
    }))
  } catch (error) {
    const said = (error as Error).message
    // An engine that answers is running, so starting it would fix nothing (fault A4).
    if (error instanceof Refusal)
      throw new Problem(
        'engine_refused',
        'refused',
        `the container engine at ${socket} answered ${said}`,
        'see its log: journalctl -u docker',
      )
    if (isDenied(error)) {
      const { why, mend } = deniedWords(socket)
      throw new Problem('engine_unavailable', 'unavailable', why, mend)
    }
    const text = `the container engine at ${socket} does not answer (${said})`
    throw new Problem('engine_unavailable', 'unavailable', text, 'switching the machine off stops everything too')
  }
}

/** Removes one of our images by its local name. Returns why it could not, or undefined. */
export async function removeImage(paths: Paths, name: string): Promise<string | undefined> {
  try {
    const { status, body } = await request(engineSocketOf(paths), 'DELETE', `/images/${name}:latest`, CALL_MS)
    if (status === 200 || status === 404) return undefined
    const said = (jsonOf(body) as { message?: unknown } | undefined)?.message
    return typeof said === 'string' ? said : `the engine answered ${status}`
  } catch (error) {
    if (isDenied(error)) return deniedLine(deniedWords(engineSocketOf(paths)))
    return `the container engine does not answer (${(error as Error).message})`
  }
}

/** Gives a local name back to an image. Returns whether the engine accepted it. */
export async function nameImage(paths: Paths, id: string, name: string): Promise<boolean> {
  const path = `/images/${encodeURIComponent(id)}/tag?repo=${encodeURIComponent(name)}&tag=latest`
  return (await request(engineSocketOf(paths), 'POST', path, CALL_MS).catch(() => ({ status: 0 }))).status === 201
}

/** The id behind a local name, or undefined. */
export async function imageIdOf(paths: Paths, name: string): Promise<string | undefined> {
  try {
    const { status, body } = await request(engineSocketOf(paths), 'GET', `/images/${name}:latest/json`, CALL_MS)
    const id = status === 200 ? (jsonOf(body) as { Id?: unknown } | undefined)?.Id : undefined
    return typeof id === 'string' ? id : undefined
  } catch {
    return undefined
  }
}

async function stopOne(socket: string, found: Found): Promise<StoppedContainer> {
  const base = { container: found.name, session: found.session }
  let said = ''
  let isDenied = false
  const steps = [
    ['POST', `/containers/${found.id}/stop?t=${GRACE_SECONDS}`, CALL_MS + GRACE_SECONDS * 1000],
    ['POST', `/containers/${found.id}/kill`, CALL_MS],
    ['DELETE', `/containers/${found.id}?force=1&v=1`, CALL_MS],
  ] as const
  for (const [method, path, deadlineMs] of steps) {
    try {
      const { status, body } = await request(socket, method, path, deadlineMs)
      // 409: it has stopped already, which is fine.
      isDenied = status >= 400 && status !== 404 && status !== 409
      if (isDenied) said = `${status} ${body.slice(0, 200)}`
    } catch (error) {
      isDenied = false
      said = (error as Error).message
    }
  }
  try {
    for (let look = 1; ; look += 1) {
      const { status } = await request(socket, 'GET', `/containers/${found.id}/json`, CALL_MS)
      if (status === 404) return { ...base, outcome: 'gone' }
      // Another program may be removing it: the engine then answers 409 and shows it a moment longer.
      // If the removal was denied, nothing is under way (fault A10).
      if (look === LOOKS_MAX || isDenied)
        return { ...base, outcome: 'failed', reason: said || 'the engine still shows it' }
      await sleep(LOOK_MS)
    }
  } catch (error) {
    return { ...base, outcome: 'failed', reason: (error as Error).message }
  }
}

/** Stops, kills and removes each container of this home, and asks the engine whether it is gone. A second look catches late ones. */
export async function stopContainers(paths: Paths): Promise<StopView> {
  const socket = engineSocketOf(paths)
  const containers = new Map<string, StoppedContainer>()
  for (let look = 0; look < 2; look += 1) {
    const found = (await listContainers(paths)).filter(({ name }) => containers.get(name)?.outcome !== 'failed')
    if (found.length === 0) break
    for (const one of await Promise.all(found.map((each) => stopOne(socket, each)))) containers.set(one.container, one)
  }
  return { path: 'command', requested: containers.size, containers: [...containers.values()] }
}
