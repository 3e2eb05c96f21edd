/** The hub's keys on disk: made once by `hub init`, read at start. Wider modes stop the start; no keys means no start (T35). */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { digestOf } from '../../base/canonical.ts'
import { HubError } from '../../base/errors.ts'
import type { Random } from '../../base/random.ts'
import { createFile, replaceFile } from '../../base/whole-file.ts'

const KEY_FILES = ['token.key', 'checkpoint.key', 'watchdog.key'] as const

const FROM_BACKUP =
  'put it back from a backup (backups/*/keys), or make a new home from a backup: hub restore BACKUP --home NEW'

export interface SigningKey {
  /** First 16 hex characters of the digest of the public key. */
  kid: string
  privateKey: KeyObject
  publicKey: KeyObject
}

/** Those read once at start; the token keys have a ring of their own (key-ring.ts). */
export interface HubKeys {
  checkpoint: SigningKey
  /** 32 bytes shared with the watchdog. */
  watchdog: Buffer
}

export const pem = (key: KeyObject): string =>
  key.export({ type: key.type === 'private' ? 'pkcs8' : 'spki', format: 'pem' }) as string

export const kidOf = (publicKey: KeyObject): string => digestOf('hub-key-v1', pem(publicKey)).slice(0, 16)

/**
 * Makes the keys that are missing in `folder` and answers their names; existing keys stay as they are. With `isUsed` none is made: in a
 * home that was used, a new key would silently end tokens or break the proof of the log (fault G4). Throws `config_invalid`.
 */
export function createKeyFiles(folder: string, random: Random, isUsed = false): string[] {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  chmodSync(folder, 0o700)
  const missing = KEY_FILES.filter((name) => !existsSync(join(folder, name)))
  const lost = missing[0]
  if (isUsed && lost !== undefined)
    throw new HubError('config_invalid', `${join(folder, lost)} is missing; ${remedyOf(lost)}`)
  for (const name of missing) {
    if (name === 'watchdog.key') createFile(join(folder, name), newSharedKey(random))
    else createFile(join(folder, name), pem(generateKeyPairSync('ed25519').privateKey))
  }
  for (const name of ['token', 'checkpoint']) keepPublicFile(folder, name)
  return missing.map((name) => `keys/${name}`)
}

/** The text of a new `watchdog.key`: 32 random bytes in hex. */
export function newSharedKey(random: Random): string {
  return `${random.bytes(32).toString('hex')}\n`
}

/** Writes the public half beside a key if it is missing or belongs to another key; answers whether it did. */
export function keepPublicFile(folder: string, name: string): boolean {
  const path = join(folder, `${name}.pub`)
  const text = pem(readSigningKey(join(folder, `${name}.key`)).publicKey)
  if (existsSync(path) && readFileSync(path, 'utf8') === text) return false
  replaceFile(path, text)
  return true
}

/** Reads all keys. Throws `config_invalid` naming the file that is missing, unreadable or too widely readable, and the command that fixes it. */
export function readKeys(folder: string): HubKeys {
  if (!existsSync(folder)) throw new HubError('config_invalid', `${folder} is missing: ${FROM_BACKUP}`)
  requirePrivate(folder)
  const shared = join(folder, 'watchdog.key')
  const watchdog = readPrivate(shared).trim()
  if (!/^[0-9a-f]{64}$/.test(watchdog))
    throw new HubError('config_invalid', `${shared} is not 64 hex characters; ${remedyOf(shared)}`)
  return {
    checkpoint: readSigningKey(join(folder, 'checkpoint.key')),
    watchdog: Buffer.from(watchdog, 'hex'),
  }
}

/** Throws `config_invalid` naming the file that is missing, open to others or no Ed25519 key. */
export function readSigningKey(path: string): SigningKey {
  const text = readPrivate(path)
  try {
    const privateKey = createPrivateKey(text)
    if (privateKey.asymmetricKeyType !== 'ed25519') throw new Error(`it is ${privateKey.asymmetricKeyType}`)
    const publicKey = createPublicKey(privateKey)
    return { kid: kidOf(publicKey), privateKey, publicKey }
  } catch (thrown) {
    const why = (thrown as Error).message.split('\n')[0]
    throw new HubError('config_invalid', `${path} is not an Ed25519 key (${why}); ${remedyOf(path)}`, { cause: thrown })
  }
}

/** What to do about a key that is lost or unreadable. The key that signs the log is never replaced: a new one proves nothing about the past. */
export function remedyOf(path: string): string {
  return path.endsWith('checkpoint.key')
    ? FROM_BACKUP
    : 'put it back from a backup (backups/*/keys), or make a new one, which ends open tokens and loses nothing: hub keys renew'
}

function readPrivate(path: string): string {
  if (statSync(path, { throwIfNoEntry: false }) === undefined)
    throw new HubError('config_invalid', `${path} is missing; ${remedyOf(path)}`)
  requirePrivate(path)
  return readFileSync(path, 'utf8')
}

function requirePrivate(path: string): void {
  if ((statSync(path).mode & 0o077) !== 0)
    throw new HubError('config_invalid', `${path} is open to others; run: chmod go-rwx ${path}`)
}
