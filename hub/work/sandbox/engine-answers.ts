/** Turns the engine's answers into facts. Pure, and strict enough to notice a broken engine. */
import type { IncomingMessage } from 'node:http'
import { HubError } from '../../base/errors.ts'

export interface ImageFact {
  id: string
  user: string
  volumes: string[]
  env: string[]
  labels: Record<string, string>
  exposedPorts: string[]
  onBuild: string[]
  /** What its builder says of it, such as that it holds a shell. */
  comment: string
}

export interface ContainerFact {
  id: string
  /** Without the leading slash. */
  name: string
  /** created, running, paused, restarting, removing, exited, dead. */
  state: string
  imageId: string
  labels: Record<string, string>
  /** What its label says. A container that is not fully ours may lack it. */
  session: string | undefined
  /** Of one that has ended. */
  exitCode: number | undefined
  /** Epoch milliseconds, by the engine. */
  createdAtMs: number
}

export interface EngineEvent {
  /** start, die, oom, kill, pause, destroy and others. */
  action: string
  id: string
  labels: Record<string, string>
  /** Only for `die`. */
  exitCode: number | undefined
}

const EVENT_BYTES_MAX = 1024 ** 2

const list = (value: unknown): string[] => (Array.isArray(value) ? value.map(String) : [])
const keys = (value: unknown): string[] => Object.keys((value ?? {}) as object)
const broken = (what: string) =>
  new HubError('engine_unavailable', `the container engine answered with ${what}; see \`hub doctor\``)

export function imageOf(value: unknown): ImageFact {
  const said = value as { Id?: unknown; Comment?: unknown; Config?: Record<string, unknown> | null }
  if (typeof said?.Id !== 'string' || !/^sha256:[0-9a-f]{64}$/.test(said.Id)) throw broken('an image without an id')
  const config = said.Config ?? {}
  return {
    id: said.Id,
    user: String(config.User ?? ''),
    volumes: keys(config.Volumes),
    env: list(config.Env),
    labels: (config.Labels ?? {}) as Record<string, string>,
    exposedPorts: keys(config.ExposedPorts),
    onBuild: list(config.OnBuild),
    comment: String(said.Comment ?? ''),
  }
}

/** Which hub's container a row of a list is. */
export function instanceOf(value: unknown): string | undefined {
  const its = (value as { Labels?: Record<string, unknown> | null }).Labels?.['hub.instance']
  return typeof its === 'string' ? its : undefined
}

/** One row of a list. The engine has filtered already; checking again costs nothing and holds if the engine is broken (T61). */
export function factOf(value: unknown, instance: string): ContainerFact {
  const row = value as Record<string, unknown>
  const labels = (row.Labels ?? {}) as Record<string, string>
  const { Id: id, State: state, Created: created } = row
  if (labels['hub.instance'] !== instance) throw broken('a container that does not belong to this hub')
  if (
    typeof id !== 'string' ||
    !/^[0-9a-f]{64}$/.test(id) ||
    typeof state !== 'string' ||
    typeof created !== 'number'
  ) {
    throw broken('a container in an unknown shape')
  }
  const name = (list(row.Names)[0] ?? '').replace(/^\//, '')
  // The list has the code only in words: `Exited (137) 2 seconds ago`.
  const code = /^Exited \((\d{1,3})\)/.exec(String(row.Status))?.[1]
  return {
    id,
    name,
    state,
    imageId: String(row.ImageID),
    labels,
    session: labels['hub.session'],
    exitCode: code === undefined ? undefined : Number(code),
    createdAtMs: created * 1000,
  }
}

/** Reads events, one JSON text a line, until the stream ends. */
export async function readEvents(stream: IncomingMessage, onEvent: (event: EngineEvent) => void): Promise<void> {
  let open = ''
  stream.setEncoding('utf8')
  for await (const piece of stream as AsyncIterable<string>) {
    open += piece
    const lines = open.split('\n')
    open = lines.pop() ?? ''
    if (open.length > EVENT_BYTES_MAX) throw broken('an event without an end')
    for (const line of lines) {
      if (line.trim() !== '') onEvent(eventOf(JSON.parse(line)))
    }
  }
}

function eventOf(value: unknown): EngineEvent {
  const said = value as { Action?: unknown; Actor?: { ID?: unknown; Attributes?: Record<string, string> } }
  const labels = said.Actor?.Attributes ?? {}
  const code = labels.exitCode
  return {
    action: String(said.Action),
    id: String(said.Actor?.ID),
    labels,
    exitCode: code === undefined ? undefined : Number(code),
  }
}

/** The last `bytesMax` bytes of a log that comes in frames: a head of 8 bytes (stream, length), then the payload. */
export function plainLog(framed: Buffer, bytesMax: number): string {
  const pieces: Buffer[] = []
  for (let at = 0; at + 8 <= framed.length; ) {
    const length = framed.readUInt32BE(at + 4)
    pieces.push(framed.subarray(at + 8, at + 8 + length))
    at += 8 + length
  }
  const plain = Buffer.concat(pieces)
  return plain.subarray(Math.max(0, plain.length - bytesMax)).toString('utf8')
}

export interface ProcessTable {
  titles: string[]
  processes: string[][]
}

export function processesOf(value: unknown): ProcessTable {
  const said = value as { Titles?: unknown; Processes?: unknown }
  if (!Array.isArray(said?.Titles) || !Array.isArray(said.Processes)) throw broken('processes in an unknown shape')
  return { titles: list(said.Titles), processes: said.Processes.map(list) }
}

/** What the engine says of itself and its host. What it leaves out is empty here, never a guess. */
export interface EngineInfo {
  /** Made once per data root; another one means another engine. */
  id: string
  /** As `uname -r` prints it where its containers run. */
  kernel: string
  /** Memory of its machine, in bytes; 0 if it does not say. */
  memoryBytes: number
  /** The program that it starts first in a container: `docker-init`; '' if it has none. */
  initBinary: string
  runtimes: string[]
  /** Where it keeps images, containers and their logs, as a path in its own mount namespace; '' if it does not say. */
  dataRoot: string
  /** `overlay2`, `overlayfs`, `vfs`. */
  storageDriver: string
  /** '1' or '2'. */
  cgroupVersion: string
  cgroupDriver: string
  /** Which limits the control groups of its host can hold. */
  memoryLimit: boolean
  swapLimit: boolean
  pidsLimit: boolean
  cpuQuota: boolean
  /** `name=seccomp,profile=default`, `name=apparmor`, `name=rootless`, `name=userns`, ... */
  securityOptions: string[]
  operatingSystem: string
  /** `x86_64`, `aarch64`. */
  architecture: string
  /** Live-restore: containers outlive the engine. */
  liveRestore: boolean
  warnings: string[]
}

export function infoOf(value: unknown): EngineInfo {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw broken('nothing about itself')
  const said = value as Record<string, unknown>
  const word = (key: string) => (typeof said[key] === 'string' ? (said[key] as string).slice(0, 4096) : '')
  return {
    id: word('ID'),
    kernel: word('KernelVersion'),
    memoryBytes: typeof said.MemTotal === 'number' ? said.MemTotal : 0,
    initBinary: word('InitBinary'),
    runtimes: keys(said.Runtimes),
    dataRoot: word('DockerRootDir'),
    storageDriver: word('Driver'),
    cgroupVersion: word('CgroupVersion'),
    cgroupDriver: word('CgroupDriver'),
    memoryLimit: said.MemoryLimit === true,
    swapLimit: said.SwapLimit === true,
    pidsLimit: said.PidsLimit === true,
    cpuQuota: said.CpuCfsQuota === true,
    securityOptions: list(said.SecurityOptions),
    operatingSystem: word('OperatingSystem'),
    architecture: word('Architecture'),
    liveRestore: said.LiveRestoreEnabled === true,
    warnings: list(said.Warnings),
  }
}

/** The parts of the engine, name to version: `runc`, `containerd`. */
export function componentsOf(value: unknown): Record<string, string> {
  const rows = Array.isArray(value) ? (value as { Name?: unknown; Version?: unknown }[]) : []
  return Object.fromEntries(rows.map(({ Name, Version }) => [String(Name), String(Version).slice(0, 64)]))
}
