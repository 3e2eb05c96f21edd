/**
 * The last line, for a host timer (docs/safety.md 5, T90): removes the containers of one home that are past the deadline in their label.
 * It works alone: it asks neither hub nor watchdog, imports none of their code, and works if both are dead. It never sees other containers.
 *
 * `node scripts/systemd/reaper.ts --home DIR [--grace-ms N]`. Exit 0: nothing overdue is left; 1: something is; 2: usage; 4: no engine.
 */
import { readFileSync } from 'node:fs'
import http from 'node:http'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

/** Shim, hub and watchdog have this long to end a container first. */
const GRACE_MS = 60_000
const CALL_MS = 30_000
const VERSION_MS = 3_000
/** The API versions 1.x that are known here (fault A3). */
const KNOWN = { oldest: 41, newest: 56 }
const STOP_SECONDS = 5
/** Looks at one container after its removal was asked for. */
const LOOKS_MAX = 8
const LOOK_MS = 500
/** States in which code of the container may run or go on running. */
const LIVE: ReadonlySet<string> = new Set(['running', 'paused', 'restarting'])

export interface Container {
  readonly id: string
  readonly name: string
  readonly state: string
  readonly labels: Readonly<Record<string, string>>
}
export interface Now {
  readonly wallMs: number
  readonly bootMs: number
  readonly bootId: string
}

/**
 * Whether the deadline passed. A running container is judged by boot time alone, so that a stepped wall clock neither kills nor spares it;
 * one that does not run is judged by the wall clock. A container without a readable deadline was not made by the hub and is overdue. Pure.
 */
export function isOverdue({ state, labels }: Container, now: Now, graceMs: number): boolean {
  if (!LIVE.has(state)) {
    const at = labels['hub.expires-at'] ?? ''
    return !/^\d{1,15}$/.test(at) || now.wallMs >= Number(at) + graceMs
  }
  const found = /^([\w-]{1,64}):(\d{1,15})$/.exec(labels['hub.expires-boot'] ?? '')
  return found === null || found[1] !== now.bootId || now.bootMs >= Number(found[2]) + graceMs
}

interface Answered {
  status: number
  text: string
}

/** The prefix of each path: the newest API version that both know. Without one the engine uses its own newest. Pure. */
function prefixOf(version: string): string {
  const minor = (name: string) => Number(new RegExp(`"${name}"\\s*:\\s*"1\\.(\\d{1,3})"`).exec(version)?.[1])
  const newest = Math.min(minor('ApiVersion'), KNOWN.newest)
  return newest >= KNOWN.oldest && !(minor('MinAPIVersion') > newest) ? `/v1.${newest}` : ''
}

let prefix: string | undefined

/** A removal must go through, so a version that the engine refuses is left out. */
async function ask(socketPath: string, method: string, route: string): Promise<Answered> {
  prefix ??= await send(socketPath, 'GET', '/version', VERSION_MS).then(
    ({ text }) => prefixOf(text),
    () => '',
  )
  const before = prefix
  const answer = await send(socketPath, method, before + route, CALL_MS)
  if (before === '' || answer.status !== 400 || !/client version \S+ is too (?:old|new)/.test(answer.text))
    return answer
  prefix = ''
  return send(socketPath, method, route, CALL_MS)
}

function send(socketPath: string, method: string, path: string, deadlineMs: number): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const call = http.request({ socketPath, method, path, agent: false, headers: { host: 'localhost' } })
    const deadline = setTimeout(() => call.destroy(new Error(`no answer within ${deadlineMs / 1000} s`)), deadlineMs)
    call.on('close', () => clearTimeout(deadline))
    call.on('error', reject)
    call.on('response', (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (part: string) => {
        text += part
        if (text.length > 16 * 1024 ** 2) call.destroy(new Error('its answer is too large'))
      })
      response.on('error', reject)
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }))
    })
    call.end()
  })
}

async function list(socketPath: string, instance: string): Promise<Container[]> {
  const filters = encodeURIComponent(JSON.stringify({ label: [`hub.instance=${instance}`] }))
  const { status, text } = await ask(socketPath, 'GET', `/containers/json?all=1&filters=${filters}`)
  if (status !== 200) throw new Error(`it answered ${status}`)
  const rows = JSON.parse(text) as { Id: string; Names?: string[]; State: string; Labels?: Record<string, string> }[]
  return rows
    .filter(({ Labels }) => Labels?.['hub.instance'] === instance)
    .map(({ Id, Names, State, Labels }) => ({
      id: Id,
      name: (Names?.[0] ?? Id.slice(0, 12)).replace(/^\//, ''),
      state: State,
      labels: Labels ?? {},
    }))
}

/** Stops, kills and removes it; returns whether the engine says that it is gone. */
async function remove(socketPath: string, { id }: Container): Promise<boolean> {
  const steps = [
    ['POST', `/containers/${id}/stop?t=${STOP_SECONDS}`],
    ['POST', `/containers/${id}/kill`],
    ['DELETE', `/containers/${id}?force=1&v=1`],
  ] as const
  for (const [method, route] of steps) await ask(socketPath, method, route).catch(() => undefined)
  // Another program may be removing it: the engine then shows it a moment longer.
  for (let look = 1; look <= LOOKS_MAX; look += 1) {
    if (look > 1) await sleep(LOOK_MS)
    const gone = await ask(socketPath, 'GET', `/containers/${id}/json`).then(
      ({ status }) => status === 404,
      () => false,
    )
    if (gone) return true
  }
  return false
}

const readOrNothing = (file: string): string => {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}

/** The engine's socket, from the watchdog's file in either form; else the usual path. Read without a YAML parser: nothing is loaded here. */
function engineOf(home: string): string {
  const now = readOrNothing(path.join(home, 'watchdog', 'config.yaml')).replace(/^[ \t]*#.*\n?/gm, '')
  const before = now === '' ? readOrNothing(path.join(home, 'watchdog', 'config.json')) : ''
  const inside =
    /(?:^|[{,]\s*)["']?engine["']?\s*:\s*(\{[^}]*\}|(?:#[^\n]*)?\n(?:[ \t]+[^\n]*\n?)*)/m.exec(now)?.[1] ?? ''
  const found =
    /(?:^|[\s{,])["']?socket["']?\s*:\s*["']?([^\s"',}]+)/.exec(inside) ?? /"engineSocket"\s*:\s*"([^"]+)"/.exec(before)
  return found?.[1] ?? '/var/run/docker.sock'
}

/** On a full disk, or without a reader, the output is lost and the work goes on. */
function outlet(): (text: string) => void {
  process.stdout.on('error', () => undefined)
  return (text) => void process.stdout.write(`hub-reaper: ${text}\n`)
}

async function main(words: readonly string[]): Promise<number> {
  const say = outlet()
  const home = words[words.indexOf('--home') + 1]
  const graceMs = words.includes('--grace-ms') ? Number(words[words.indexOf('--grace-ms') + 1]) : GRACE_MS
  if (!words.includes('--home') || home === undefined || !Number.isSafeInteger(graceMs)) {
    say('usage: node scripts/systemd/reaper.ts --home DIR [--grace-ms N]')
    return 2
  }
  const instance = readFileSync(path.join(home, 'instance'), 'utf8').trim()
  // An empty or odd label value could match more than ours.
  if (!/^[0-9a-f-]{36}$/.test(instance)) {
    say(`${home}/instance does not hold an instance id; restore it from a backup`)
    return 2
  }
  const socketPath = engineOf(home)
  const now = {
    wallMs: Date.now(),
    bootMs: Math.round(os.uptime() * 1000),
    bootId: readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(),
  }
  let found: Container[]
  try {
    found = await list(socketPath, instance)
  } catch (error) {
    say(`the container engine at ${socketPath} does not answer (${(error as Error).message})`)
    return 4
  }
  const overdue = found.filter((container) => isOverdue(container, now, graceMs))
  const gone = await Promise.all(overdue.map((container) => remove(socketPath, container)))
  for (const [at, { name, state }] of overdue.entries())
    say(gone[at] === true ? `removed ${name} (${state})` : `${name} (${state}) is still there: docker rm -f ${name}`)
  return gone.every((each) => each) ? 0 : 1
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exit(await main(process.argv.slice(2)))
