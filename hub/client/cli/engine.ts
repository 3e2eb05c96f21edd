/**
 * The command's last resort: this home's containers, by label, straight over the engine's socket; used when hub and watchdog are dead.
 * Only containers labelled `hub.instance=<home>/instance` are listed or touched; gone means that the engine says so.
 */

import { readFileSync } from 'node:fs'
import { judgeRemains, processesOf, type Remains, seesAll } from '../../base/container-processes.ts'
import { agreeApi, isApiRefused } from '../../base/engine-api.ts'
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

/** What each path begins with, once this process has asked; without a version every engine takes a call as its own newest. */
let spoken: string | undefined
const VERSION_MS = 2_000
/** Of one container at most four times this passes: nobody waits for minutes for one that the engine hangs on. */
const CALL_MS = 10_000
const GRACE_SECONDS = 5
/** Looks at one container after its removal was asked for. */
const LOOKS_MAX = 8
const LOOK_MS = 500

interface Answered {
  status: number
  body: string
}

/** In the newest API version that both know; where there is none, or the engine refuses it, without one: what stops must go through. */
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

/** Where this home's engine listens: the watchdog's configuration names it, else the usual place. */
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

/** The engine's own no. */
class Refusal extends Error {}

/** What of a container runs, by the engine's word of its state and by the processes of this machine (fault A6). */
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

/** The containers of this home, in any state. @throws Problem where the engine does not answer */
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
    // One that answers is not away (fault A4): to start it would mend nothing.
    if (error instanceof Refusal)
      throw new Problem(
        'engine_refused',
        'refused',
        `the container engine at ${socket} answered ${said}`,
        'look into its log: journalctl -u docker',
      )
    const text = `the container engine at ${socket} does not answer (${said})`
    throw new Problem('engine_unavailable', 'unavailable', text, 'switching the machine off stops everything too')
  }
}

/** Takes one image of ours away by its local name. Answers why it is still there, or undefined. */
export async function removeImage(paths: Paths, name: string): Promise<string | undefined> {
  try {
    const { status, body } = await request(engineSocketOf(paths), 'DELETE', `/images/${name}:latest`, CALL_MS)
    if (status === 200 || status === 404) return undefined
    const said = (jsonOf(body) as { message?: unknown } | undefined)?.message
    return typeof said === 'string' ? said : `the engine answered ${status}`
  } catch (error) {
    return `the container engine does not answer (${(error as Error).message})`
  }
}

/** Gives a local name to an image again. Answers whether the engine took it. */
export async function nameImage(paths: Paths, id: string, name: string): Promise<boolean> {
  const path = `/images/${encodeURIComponent(id)}/tag?repo=${encodeURIComponent(name)}&tag=latest`
  return (await request(engineSocketOf(paths), 'POST', path, CALL_MS).catch(() => ({ status: 0 }))).status === 201
}

/** The id behind a local name, or undefined where there is none. */
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
      // Killing what has stopped is a conflict and no matter.
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
      // A removal may be under way by another hand: the engine then answers 409 and shows it a moment longer.
      // What was refused at once is not under way (fault A10).
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
