/** An agent's image from another image of the engine: what of that one is kept, what is dropped, and what is refused. Pure. */
import { looksSecret } from '../../hub/protocol/agent.ts'
import { ARCHES, type Arch } from './machine.ts'

/** Engines chain no more layers than these; two of 127 are the container's own. */
const LAYERS_MAX = 125
/** Node, shim, what is this image's own, the agent's program. */
const OWN_LAYERS = 4
const NODE_FOLDER = '/usr/local/bin'
const ENGINE_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

export interface Source {
  /** As it was named. */
  name: string
  /** The engine's id. */
  id: string
  /** Digests of its layers, from the bottom. */
  layers: string[]
  /** What its programs are told: its ENV, but what a session decides itself. */
  env: Record<string, string>
  /** Registries' digests of it, where it came from one; empty for one that was built here. */
  digests: string[]
  /** What of it does not hold any more, for the person who builds. */
  notes: string[]
}

/** What a session has of its own, whatever an image says. */
const OWN_NAMES = /^(?:HOME|TMPDIR|PWD|OLDPWD|HOSTNAME|USER|LOGNAME|HUB_.*)$|^(?:https?|all|no)_proxy$/i

type Row = Readonly<Record<string, unknown>>
const rowOf = (value: unknown): Row => (typeof value === 'object' && value !== null ? (value as Row) : {})
const listOf = (value: unknown): string[] => (Array.isArray(value) ? value.map(String) : [])

/** Throws naming what makes an agent's image of it impossible. `shown` is the engine's answer to inspect, `added` how many layers its card asks for. */
export function judgeSource(name: string, shown: unknown, arch: Arch, added = 0): Source {
  if (shown === undefined)
    throw new Error(`the engine has no image ${name}; build it first (docker build -t ${name} .), or load or pull it`)
  const { Id, Os, Architecture, RootFS, RepoDigests, Config } = rowOf(shown)
  if (typeof Id !== 'string' || !/^sha256:[0-9a-f]{64}$/.test(Id))
    throw new Error(`the engine shows ${name} without an id`)
  if (Os !== 'linux') throw new Error(`${name} is an image for ${String(Os)}; agents run on linux`)
  if (Architecture !== ARCHES[arch].oci)
    throw new Error(
      `${name} is for ${String(Architecture)}, and this machine is ${ARCHES[arch].oci}; build it for this one`,
    )
  const layers = listOf(rowOf(RootFS).Layers)
  if (layers.length === 0) throw new Error(`${name} has no layers`)
  const own = OWN_LAYERS + added
  if (layers.length > LAYERS_MAX - own)
    throw new Error(
      `${name} has ${layers.length} layers, and ours need ${own} of the ${LAYERS_MAX} that an engine chains; make one of them: docker create ${name} x, docker export ID | docker import - NAME`,
    )
  const config = rowOf(Config)
  const { env, notes } = judgeEnv(listOf(config.Env))
  return { name, id: Id, layers, env, digests: listOf(RepoDigests), notes: [...notes, ...dropped(config)] }
}

/** Ours too, for a card that says `node`. */
const pathOf = (path: string): string => (path.split(':').includes(NODE_FOLDER) ? path : `${path}:${NODE_FOLDER}`)

function judgeEnv(given: readonly string[]): { env: Record<string, string>; notes: string[] } {
  const pairs = given.map((text) => [text.slice(0, text.indexOf('=')), text.slice(text.indexOf('=') + 1)] as const)
  const kept = pairs.filter(([name]) => name !== '' && !OWN_NAMES.test(name))
  const names = pairs.map(([name]) => name).filter((name) => OWN_NAMES.test(name))
  const secret = kept.map(([name]) => name).filter((name) => looksSecret.test(name))
  return {
    env: { ...Object.fromEntries(kept), PATH: pathOf(Object.fromEntries(kept).PATH ?? ENGINE_PATH) },
    notes: [
      ...(names.length === 0 ? [] : [`ENV ${names.join(', ')} dropped: a session has its own`]),
      ...(secret.length === 0
        ? []
        : [
            `ENV ${secret.join(', ')} looks like a secret: whoever has the image can read it; use may.secrets of the card`,
          ]),
    ],
  }
}

/** What a container would have from its image and a session has not. */
function dropped(config: Row): string[] {
  const keys = (value: unknown) => Object.keys(rowOf(value))
  const notes: string[] = []
  const volumes = keys(config.Volumes)
  if (volumes.length > 0) notes.push(`VOLUME ${volumes.join(', ')} dropped: what is there cannot be written`)
  const ports = keys(config.ExposedPorts)
  if (ports.length > 0) notes.push(`EXPOSE ${ports.join(', ')} dropped: a session has no network`)
  if (config.Healthcheck !== undefined && config.Healthcheck !== null)
    notes.push('HEALTHCHECK dropped: the hub asks the session itself')
  if (listOf(config.OnBuild).length > 0) notes.push('ONBUILD dropped')
  const started = [...listOf(config.Entrypoint), ...listOf(config.Cmd)]
  if (started.length > 0)
    notes.push(`it starts ${JSON.stringify(started)} by itself; in a session only \`run\` of the card counts`)
  if (/^(?:0+|root)?(?::|$)/.test(String(config.User ?? '')))
    notes.push("its user was root: programs run as the session's user, and what only root may read stays closed")
  return notes
}

/** `/etc/passwd` or `/etc/group` of the image, with the lines of the users of sessions that it does not have. Ids that it has keep their names. */
export function withAccounts(own: string | undefined, ours: string): string {
  const lines = (text: string) => text.split('\n').filter((line) => line !== '')
  const [had, more] = [lines(own ?? ''), lines(ours)]
  const names = new Set(had.map((line) => line.split(':')[0]))
  const ids = new Set(had.map((line) => line.split(':')[2]))
  const added = more
    .filter((line) => !ids.has(line.split(':')[2]))
    .map((line) => (names.has(line.split(':')[0]) ? `hub-${line}` : line))
  return `${[...had, ...added].join('\n')}\n`
}
