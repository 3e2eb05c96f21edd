/**
 * The folders of the sessions' sockets (docs/sandbox.md 2): parent `run/s` 0700, one leaf per session 0711, in it `hub.sock` 0666, and `egress.sock`
 * 0666 if the session may reach something outside. The modes are set explicitly, because the container's uid must connect. Nobody else can get past the parent; a container sees only its leaf.
 */
import { chmodSync, lstatSync, mkdirSync, readdirSync, rmdirSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { HubError } from '../../base/errors.ts'

/** A socket path holds 107 bytes; `/run/s/<16>/egress.sock` takes 35 of them. A few stay free for the home's own sockets. */
export const HOME_BYTES_MAX = 70

export interface Sockets {
  /** Folder of a session: the source of its only bind. */
  socketDirOf(session: string): string
  socketPathOf(session: string): string
  /** Of the second socket (docs/egress.md 1). */
  egressPathOf(session: string): string
  /** Makes the leaf, empty. Removes a socket that an earlier run of the hub left there. Throws `conflict` for what is not ours. */
  make(session: string): string
  /** After listen on one of the two: lets the container's uid connect. */
  open(session: string, which?: 'hub' | 'egress'): void
  /** Removes socket and leaf. Idempotent. */
  remove(session: string): void
  /** Sessions that have a leaf, for recovery. */
  list(): string[]
}

const OWN: ReadonlySet<string> = new Set(['hub.sock', 'egress.sock'])
const SESSION = /^s[a-z2-7]{15}$/

const notOurs = (path: string, what: string) =>
  new HubError('conflict', `${path} ${what}; look at it and move it away; the hub removes only what it made`)

/** Throws `config_invalid` if the home's path is too long or `run/s` is not a folder of this user. */
export function createSockets(options: { home: string; uid: number }): Sockets {
  const { home, uid } = options
  if (Buffer.byteLength(home) > HOME_BYTES_MAX) {
    throw new HubError(
      'config_invalid',
      `the home ${home} is longer than ${HOME_BYTES_MAX} bytes; choose a shorter --home`,
    )
  }
  const parent = join(home, 'run', 's')
  mkdirSync(parent, { recursive: true, mode: 0o700 })
  const found = lstatSync(parent)
  if (!found.isDirectory() || found.uid !== uid) {
    throw new HubError('config_invalid', `${parent} is not a folder of this user; move it away`)
  }
  chmodSync(parent, 0o700)

  const socketDirOf = (session: string): string => {
    if (!SESSION.test(session))
      throw new HubError('internal', '', { reason: 'a socket folder for what is no session id' })
    return join(parent, session)
  }
  const socketPathOf = (session: string) => join(socketDirOf(session), 'hub.sock')
  const egressPathOf = (session: string) => join(socketDirOf(session), 'egress.sock')

  /** The leaf, or undefined. Throws if it is not a plain folder of ours. */
  function leafOf(session: string): string | undefined {
    const path = socketDirOf(session)
    const leaf = lstatSync(path, { throwIfNoEntry: false })
    if (leaf === undefined) return undefined
    if (!leaf.isDirectory() || leaf.uid !== uid) throw notOurs(path, 'is not a folder of this user')
    return path
  }

  function emptyLeaf(path: string): void {
    for (const name of readdirSync(path)) {
      const file = join(path, name)
      const found = lstatSync(file)
      if (!OWN.has(name) || !found.isSocket() || found.uid !== uid) throw notOurs(file, 'is not a socket of this user')
      unlinkSync(file)
    }
  }

  return {
    socketDirOf,
    socketPathOf,
    egressPathOf,
    make(session) {
      const path = socketDirOf(session)
      if (leafOf(session) === undefined) mkdirSync(path, { mode: 0o711 })
      else emptyLeaf(path)
      // Explicitly: the umask of the process is 077.
      chmodSync(path, 0o711)
      return path
    },
    open(session, which = 'hub') {
      const path = which === 'hub' ? socketPathOf(session) : egressPathOf(session)
      if (!lstatSync(path).isSocket()) throw notOurs(path, 'is not a socket')
      chmodSync(path, 0o666)
    },
    remove(session) {
      const path = leafOf(session)
      if (path === undefined) return
      emptyLeaf(path)
      rmdirSync(path)
    },
    list: () => readdirSync(parent).filter((name) => SESSION.test(name)),
  }
}
