/** A file system's error in words that say what to do: a full disk is not a bug of ours (fault G2, fault G9). */
import { HubError } from './errors.ts'

const WORDS: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full; free some room, then try again',
  EDQUOT: 'the disk quota of this account is used up; free some room, then try again',
  EFBIG: 'this account may not write so large a file (see ulimit -f); raise the limit, then try again',
  EROFS: 'its file system is mounted read-only; mount it writable (dmesg says why it is not), then try again',
  EIO: 'the disk reports an I/O error (see dmesg); put the home on a good disk: hub restore BACKUP --home NEW',
  EACCES: 'this account may not do that; look at owner and mode with ls -ld, and run as the owner of the home',
  EPERM: 'this account may not do that; look at owner, mode and attributes with ls -ld and lsattr -d',
  ENOENT: 'it is not there; put it back from a backup, or let hub init make what is missing',
  EEXIST: 'something with that name is already there; move it away',
  ENOTDIR: 'there is a file where a folder should be; move the file away',
  EISDIR: 'there is a folder where a file should be; move the folder away',
  ELOOP: 'its symbolic links lead in a circle; put the file itself there',
  ENAMETOOLONG: 'the path is too long; choose a shorter one',
  EMFILE: 'this process has too many files open (see ulimit -n); raise the limit, then try again',
  ENFILE: 'the machine has too many files open; end what holds them, then try again',
}

/** What Node's `rmSync` gives instead of a code (Node 24: `code` is empty and `errno` -4094): the C library's own words. */
const SYSTEM_WORDS: Readonly<Record<string, string>> = {
  'Read-only file system': 'EROFS',
  'Input/output error': 'EIO',
  'Permission denied': 'EACCES',
  'Operation not permitted': 'EPERM',
  'No space left on device': 'ENOSPC',
  'Disk quota exceeded': 'EDQUOT',
}
const codeOf = ({ code, message }: NodeJS.ErrnoException): string | undefined =>
  code !== '' ? code : SYSTEM_WORDS[/Unknown error: ([^']+?) '/.exec(message)?.[1] ?? '']

/** One line for a file system's error, with the path and the remedy; undefined for any other error. Pure. */
export function diskWords(thrown: unknown, path?: string): string | undefined {
  const error = (thrown ?? {}) as NodeJS.ErrnoException & { dest?: string }
  const { path: named, dest } = error
  const code = codeOf(error)
  const words = typeof code === 'string' && Object.hasOwn(WORDS, code) ? WORDS[code] : undefined
  if (words === undefined) return undefined
  const place = path ?? dest ?? named
  return place === undefined ? words : `${place}: ${words}`
}

/** A file system's error as `store_unavailable` with these words; any other error is returned as it is. */
export function diskProblem(thrown: unknown, path?: string): unknown {
  const words = diskWords(thrown, path)
  return words === undefined || thrown instanceof HubError
    ? thrown
    : new HubError('store_unavailable', words, { reason: (thrown as Error).message, cause: thrown })
}
