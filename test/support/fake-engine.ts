/**
 * A container engine in memory, as 20.10 was measured to behave: `wait` with next-exit hears only what ends after it opened, stop of a
 * container that does not run is done, names are unique, inspect shows settings the way the engine writes them.
 * It can be told to fail or stall a verb, to alter what inspect shows, to warn, and to run a script in the place of a program.
 */
import { randomBytes } from 'node:crypto'
import { release } from 'node:os'
import type { Clock } from '../../hub/base/clock.ts'
import { API_RANGE } from '../../hub/base/engine-versions.ts'
import { HubError, toHubError } from '../../hub/base/errors.ts'
import {
  type ContainerFact,
  type Engine,
  type EngineEvent,
  type EngineInfo,
  type ImageFact,
  isDenied,
} from '../../hub/work/sandbox/engine.ts'
import { judgeEngineCall } from '../../hub/work/sandbox/engine-filter.ts'
import type { CreateBody } from '../../hub/work/sandbox/profile.ts'

export type FakeState = 'created' | 'running' | 'paused' | 'restarting' | 'removing' | 'exited' | 'dead'
export type Verb = Exclude<keyof Engine, 'logs'>

export interface FakeContainer {
  id: string
  name: string
  body: CreateBody
  state: FakeState
  exitCode: number
  oomKilled: boolean
  createdAtMs: number
  /** Path of hub.sock on this side, as the one bind of the container names its folder. */
  socketPath: string
  session: string
  log: string
  /** Aborts when the container has ended, for scripts that run in its place. */
  ended: AbortSignal
  /** Ends it as its program would. */
  exit(exitCode: number, oomKilled?: boolean): void
}

/** What a script may hand back: to be told of SIGTERM instead of ending at once with 143. */
export type Started = undefined | { onTerm: () => void }

export type FaultKind = 'fail' | 'stall' | 'refuse'
/** What it says to what it is told to refuse. */
export const FAKE_REFUSAL = 'the container engine did not do it: it answered 500: failed to create task'

export interface FakeEngine extends Engine {
  containers: Map<string, FakeContainer>
  images: Map<string, ImageFact>
  /** What it says of itself; may be changed in place. */
  said: EngineInfo
  /** Runs in the place of the program; called by start, not awaited. */
  onStart: (container: FakeContainer) => Started
  /** Changes the answer to inspect in place. */
  alterInspect: (answer: Record<string, Record<string, unknown>>) => void
  warnings: string[]
  /** Why no API version can be agreed with it. */
  disagrees: string | undefined
  /** The verbs that were called, with the name of the container: `create hub-...`. */
  calls: string[]
  /** The next `times` calls of the verb fail, answer nothing until the deadline of 10 s by the clock, or are answered with a no. */
  fault(verb: Verb, how: FaultKind, times?: number): void
  /** From now on nobody is told of a death by the stream of events, or by the waits that are open: their connections hang. */
  loseEvents(): void
  cutWaits(): void
  /** As if done behind the hub's back: pause, restart loop, a container of another making. */
  setState(idOrName: string, state: FakeState): void
  addForeign(name: string, labels: Record<string, string>, state?: FakeState, user?: string): FakeContainer
  byName(name: string): FakeContainer | undefined
}

export const FAKE_IMAGE_ID = `sha256:${'1'.repeat(64)}`
const STALL_MS = 10_000

export const fakeImage = (id = FAKE_IMAGE_ID): ImageFact => ({
  id,
  user: '65532:65532',
  volumes: [],
  env: [],
  labels: {},
  exposedPorts: [],
  onBuild: [],
  comment: '',
})

interface Kept extends FakeContainer {
  end: AbortController
  waiters: ((exit: { statusCode: number }) => void)[]
  onTerm: (() => void) | undefined
}

export function createFakeEngine({ clock, firstUser }: { clock: Clock; firstUser?: number | undefined }): FakeEngine {
  const containers = new Map<string, Kept>()
  const faults = new Map<Verb, { how: FaultKind; times: number }>()
  const listeners = new Set<(event: EngineEvent) => void>()
  const calls: string[] = []
  const lost = { events: false, waits: false }

  const find = (idOrName: string) =>
    containers.get(idOrName) ?? [...containers.values()].find((each) => each.name === idOrName)
  const tell = (action: string, { id, body, exitCode }: Kept) => {
    const event = { action, id, labels: { ...body.Labels }, exitCode: action === 'die' ? exitCode : undefined }
    for (const listener of listeners) listener(event)
  }
  const runs = ({ state }: Kept) => state === 'running' || state === 'paused' || state === 'restarting'

  /** Passes when the verb is not told to fail. */
  async function enter(verb: Verb, subject: string): Promise<void> {
    calls.push(`${verb} ${subject}`.trim())
    const fault = faults.get(verb)
    if (fault === undefined || fault.times === 0) return
    fault.times -= 1
    if (fault.how === 'stall') await clock.sleep(STALL_MS)
    if (fault.how === 'refuse') throw new HubError('engine_refused', FAKE_REFUSAL, { facts: { engineStatus: 500 } })
    throw new HubError('engine_unavailable', `the container engine did not ${verb}: it was told to ${fault.how}`)
  }

  function end(container: Kept, exitCode: number, oomKilled = false): void {
    if (!runs(container)) return
    Object.assign(container, { state: 'exited', exitCode, oomKilled })
    container.end.abort()
    if (!lost.waits) for (const waiter of container.waiters.splice(0)) waiter({ statusCode: exitCode })
    if (!lost.events) tell('die', container)
  }

  function keep(name: string, body: CreateBody): Kept {
    const controller = new AbortController()
    const container: Kept = {
      id: randomBytes(32).toString('hex'),
      name,
      body,
      state: 'created',
      exitCode: 0,
      oomKilled: false,
      createdAtMs: clock.wallMs(),
      socketPath: `${body.HostConfig.Mounts[0]?.Source}/hub.sock`,
      session: body.Labels['hub.session'],
      log: '',
      ended: controller.signal,
      end: controller,
      waiters: [],
      onTerm: undefined,
      exit: (exitCode, oomKilled) => end(container, exitCode, oomKilled),
    }
    containers.set(container.id, container)
    return container
  }

  const engine: FakeEngine = {
    containers: containers as Map<string, FakeContainer>,
    images: new Map([['hub/agent', fakeImage()]]),
    said: {
      id: 'FAKE:ENGINE',
      kernel: release(),
      memoryBytes: 0,
      initBinary: 'docker-init',
      runtimes: ['io.containerd.runc.v2', 'runc', 'runsc'],
      dataRoot: '/var/lib/docker',
      storageDriver: 'overlay2',
      cgroupVersion: '2',
      cgroupDriver: 'systemd',
      memoryLimit: true,
      swapLimit: true,
      pidsLimit: true,
      cpuQuota: true,
      securityOptions: ['name=seccomp,profile=default', 'name=cgroupns'],
      operatingSystem: 'Debian GNU/Linux 12 (bookworm)',
      architecture: 'x86_64',
      liveRestore: false,
      warnings: [],
    },
    onStart: () => undefined,
    alterInspect: () => {},
    warnings: [],
    disagrees: undefined,
    calls,
    fault: (verb, how, times = 1) => void faults.set(verb, { how, times }),
    loseEvents() {
      lost.events = true
    },
    cutWaits() {
      lost.waits = true
    },
    setState(idOrName, state) {
      const container = find(idOrName)
      if (container === undefined) throw new Error(`no container ${idOrName}`)
      container.state = state
    },
    addForeign(name, labels, state = 'running', user = '') {
      // A stranger gave it no more than this, and that is what is to be tried: a body of ours would be another thing.
      const body = { User: user, Labels: labels, HostConfig: { Mounts: [] } } as unknown as CreateBody
      const container = keep(name, body)
      container.state = state
      return container
    },
    byName: find,

    async ping() {
      await enter('ping', '')
      return { apiVersion: API_RANGE.oldest, engineVersion: '20.10.24', components: { runc: '1.1.5' } }
    },
    async info() {
      await enter('info', '')
      return { ...engine.said }
    },
    disagreement: () => engine.disagrees,
    async inspectImage(nameOrId) {
      await enter('inspectImage', nameOrId)
      return engine.images.get(nameOrId) ?? [...engine.images.values()].find((image) => image.id === nameOrId)
    },
    async create(name, body) {
      await enter('create', name)
      // What the real client refuses must not pass here.
      const path = `/v${API_RANGE.oldest}/containers/create?name=${name}`
      const reason = judgeEngineCall({ method: 'POST', path, body: JSON.stringify(body) }, firstUser)
      if (reason !== undefined) throw new HubError('internal', '', { reason: `engine call refused, ${reason}` })
      if (![...engine.images.values()].some((image) => image.id === body.Image))
        throw new HubError(
          'image_missing',
          `the engine has no image ${body.Image} any more; it was removed since it was built`,
        )
      if (find(name) !== undefined) throw new HubError('conflict', `a container named ${name} exists already`)
      const container = keep(name, structuredClone(body))
      tell('create', container)
      return { id: container.id, warnings: [...engine.warnings] }
    },
    async inspect(idOrName) {
      await enter('inspect', idOrName)
      const container = find(idOrName)
      if (container === undefined) return undefined
      const answer = inspectAnswer(container)
      engine.alterInspect(answer as Record<string, Record<string, unknown>>)
      return answer
    },
    async start(idOrName) {
      await enter('start', idOrName)
      const container = find(idOrName)
      if (container === undefined) throw new HubError('engine_unavailable', 'no such container')
      container.state = 'running'
      tell('start', container)
      container.onTerm = engine.onStart(container)?.onTerm
    },
    waitNextExit(idOrName) {
      let cancel = () => {}
      let hear: (exit: { statusCode: number }) => void = () => {}
      const exit = new Promise<{ statusCode: number }>((resolve, reject) => {
        hear = resolve
        cancel = () => reject(new HubError('engine_unavailable', 'the wait was given up'))
      })
      const opened = enter('waitNextExit', idOrName).then(() => {
        const container = find(idOrName)
        if (container === undefined) throw new HubError('engine_unavailable', 'no such container')
        container.waiters.push(hear)
      })
      opened.catch(() => cancel())
      exit.catch(() => {})
      return { opened, exit, cancel }
    },
    async stop(idOrName, graceSeconds) {
      await enter('stop', idOrName)
      const container = find(idOrName)
      if (container === undefined) return 'gone'
      if (container.state === 'paused' || container.onTerm === undefined) end(container, container.onTerm ? 137 : 143)
      else if (runs(container)) {
        container.onTerm()
        if (runs(container)) await clock.sleep(graceSeconds * 1000, container.ended)
        end(container, 137)
      }
      return 'done'
    },
    async kill(idOrName) {
      await enter('kill', idOrName)
      const container = find(idOrName)
      if (container === undefined) return 'gone'
      end(container, 137)
      return 'done'
    },
    async pause(idOrName) {
      await enter('pause', idOrName)
      const container = find(idOrName)
      if (container === undefined) return 'gone'
      if (container.state === 'running') container.state = 'paused'
      return 'done'
    },
    async top(idOrName) {
      await enter('top', idOrName)
      if (find(idOrName) === undefined) return undefined
      return { titles: ['UID', 'PID', 'CMD'], processes: [['65532', '1', 'node /app/images/agent/shim.js']] }
    },
    async remove(idOrName) {
      try {
        await enter('remove', idOrName)
      } catch (error) {
        const denied = isDenied(toHubError(error)) ? ({ isRefused: true } as const) : {}
        return { outcome: 'failed', reason: (error as Error).message, ...denied }
      }
      const container = find(idOrName)
      if (container === undefined) return { outcome: 'already_gone' }
      end(container, 137)
      for (const waiter of container.waiters.splice(0)) waiter({ statusCode: container.exitCode })
      containers.delete(container.id)
      tell('destroy', container)
      return { outcome: 'gone' }
    },
    async list(instance) {
      await enter('list', '')
      const ours = [...containers.values()].filter(({ body }) => body.Labels['hub.instance'] === instance)
      return ours.map(factOf)
    },
    async listOthers(instance) {
      await enter('listOthers', '')
      return [...containers.values()].flatMap((container) => {
        const { 'hub.instance': its, 'hub.session': session } = { ...container.body.Labels }
        return its === undefined || its === instance || session === undefined ? [] : [factOf(container)]
      })
    },
    async events(instance, onEvent, signal) {
      await enter('events', '')
      const listener = (event: EngineEvent) => {
        if (event.labels['hub.instance'] === instance) onEvent(event)
      }
      listeners.add(listener)
      await new Promise<void>((resolve) => {
        if (signal.aborted) resolve()
        else signal.addEventListener('abort', () => resolve(), { once: true })
      })
      listeners.delete(listener)
    },
    async logs(idOrName, bytesMax) {
      return (find(idOrName)?.log ?? '').slice(-bytesMax)
    },
  }
  return engine
}

const hasEnded = (state: FakeState) => state === 'exited' || state === 'dead'

function factOf({ id, name, state, body, createdAtMs, exitCode }: FakeContainer): ContainerFact {
  const labels: Record<string, string> = { ...body.Labels }
  return {
    id,
    name,
    state,
    imageId: body.Image,
    labels,
    session: labels['hub.session'],
    exitCode: hasEnded(state) ? exitCode : undefined,
    createdAtMs,
  }
}

/** The answer of Engine 20.10 to inspect, as measured for the profile of this hub. */
export function inspectAnswer(container: Omit<FakeContainer, 'ended' | 'exit'>): Record<string, unknown> {
  const { id, name, body, state, exitCode, oomKilled } = container
  const { HostConfig, ...config } = structuredClone(body)
  // Empty ones are not written, and the last is not known to it.
  const { Sysctls: _sysctls, Annotations: _notes, StorageOpt: _storage, Umask: _umask, ...host } = HostConfig
  const { ExposedPorts: _ports, NetworkDisabled: _disabled, ArgsEscaped: _escaped, Shell: _shell, ...shown } = config
  const empty = { GlobalIPv6PrefixLen: 0, IPPrefixLen: 0, IPAddress: '', MacAddress: '' }
  return {
    Id: id,
    Created: '2026-01-01T00:00:00Z',
    Path: config.Entrypoint?.[0],
    Args: config.Entrypoint?.slice(1),
    State: { Status: state, Running: state === 'running', ExitCode: exitCode, OOMKilled: oomKilled, Pid: 0 },
    Image: config.Image,
    Name: `/${name}`,
    RestartCount: 0,
    Driver: 'overlay2',
    Platform: 'linux',
    MountLabel: '',
    ProcessLabel: '',
    AppArmorProfile: host.SecurityOpt?.includes('apparmor=docker-default') ? 'docker-default' : '',
    ExecIDs: null,
    HostConfig: {
      ...host,
      Links: null,
      Ulimits: host.Ulimits?.map(({ Name, Soft, Hard }) => ({ Name, Hard, Soft })),
      Mounts: host.Mounts?.map(({ Consistency: _consistency, BindOptions, ...mount }) => ({
        ...mount,
        BindOptions: { Propagation: BindOptions?.Propagation },
      })),
    },
    GraphDriver: { Name: 'overlay2', Data: {} },
    Mounts: host.Mounts?.map(({ Source, Target }) => ({
      Type: 'bind',
      Source,
      Destination: Target,
      Mode: '',
      RW: false,
      Propagation: 'rprivate',
    })),
    Config: { ...shown, Hostname: id.slice(0, 12), Domainname: '', Volumes: null, OnBuild: null },
    NetworkSettings: { Ports: {}, ...empty, Networks: { none: { ...empty, NetworkID: '' } } },
  }
}
