/**
 * Secrets of alert channels: files of `HOME/secrets`, by name, as the hub reads them too. A file counts only if nobody
 * else could have read it: a plain file of ours, 0600 or less, in a folder of ours, 0700 or less; links are not followed. It is read when a
 * message is sent and kept nowhere. The earlier form of the configuration names variables of the environment instead.
 */
import { closeSync, constants, fstatSync, lstatSync, openSync, readFileSync } from 'node:fs'
import path from 'node:path'

export type Secret = { readonly file: string } | { readonly env: string }
/** @throws Error saying what to do; never with a value in it */
export type SecretOf = (secret: Secret) => string

const BYTES_MAX = 64 * 1024
type Env = Readonly<Record<string, string | undefined>>

/** `folder`: HOME/secrets. */
export function createSecretOf(folder: string, env: Env, uid = process.getuid?.() ?? 0): SecretOf {
  return (secret) => {
    const value = 'env' in secret ? env[secret.env] : readSecret(folder, secret.file, uid)
    if (value !== undefined && value !== '') return value
    throw new Error(
      'env' in secret
        ? `the variable ${secret.env} is not set`
        : `the secret ${secret.file} (secrets/${secret.file}) is empty`,
    )
  }
}

function readSecret(folder: string, name: string, uid: number): string {
  const found = lstatSync(folder, { throwIfNoEntry: false })
  if (found === undefined) throw new Error(`the secret ${name} is missing: put it into secrets/${name} of the home`)
  if (!found.isDirectory() || found.uid !== uid || (found.mode & 0o077) !== 0)
    throw new Error(`the folder secrets of the home is not private; run: chmod 700 ${folder}`)
  const file = path.join(folder, name)
  let fd: number
  try {
    // Not blocking: a pipe in its place must not hold the watchdog.
    fd = openSync(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new Error(
      code === 'ENOENT'
        ? `the secret ${name} is missing: put it into secrets/${name} of the home`
        : `the secret ${name} cannot be opened (${code})`,
    )
  }
  try {
    const own = fstatSync(fd)
    if (!own.isFile() || own.uid !== uid || (own.mode & 0o177) !== 0)
      throw new Error(`the secret ${name} is refused because others may read it; run: chmod 600 ${file}`)
    if (own.size > BYTES_MAX) throw new Error(`the secret ${name} is larger than ${BYTES_MAX / 1024} KiB`)
    return readFileSync(fd, 'utf8').trim()
  } finally {
    closeSync(fd)
  }
}
