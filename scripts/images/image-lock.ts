/**
 * `image.lock`: what exactly was installed of npm and pip. It comes with the folder of an agent, so maybe from a stranger, and it is told to installers
 * that run on this machine, outside every box. So it can only say what a registry could have said.
 *
 * 1. Every package of npm lies in the folder that is installed, and comes from a registry, with a digest. Without this npm would copy a folder of this
 *    machine into the image, or ask git.
 * 2. A file of pip has a name, a version and a digest, and no other word. Without this pip would be told of an archive elsewhere, whose script it runs.
 */
import { existsSync, readFileSync } from 'node:fs'
import { z } from 'zod'

const NAME = '(?:@[A-Za-z0-9_~-][A-Za-z0-9._~-]*/)?[A-Za-z0-9_~-][A-Za-z0-9._~-]*'
const NPM_NAME = new RegExp(`^${NAME}$`)
const NPM_PATH = new RegExp(`^node_modules/${NAME}(?:/node_modules/${NAME})*$`)
const NPM_VERSION = /^\d+\.\d+\.\d+(?:[-+][0-9A-Za-z.+-]+)?$/
const INTEGRITY = /^sha(?:1|256|384|512)-[A-Za-z0-9+/=]{20,100}(?: sha(?:1|256|384|512)-[A-Za-z0-9+/=]{20,100})*$/
/** As a file of an archive is named, without folders. */
const PROGRAM = /^[A-Za-z0-9_@+-][A-Za-z0-9._@+-]*$/

const npmEntryShape = z
  .looseObject({
    name: z.string().regex(NPM_NAME).optional(),
    version: z.string().regex(NPM_VERSION),
    resolved: z.url({ protocol: /^https?$/ }).optional(),
    integrity: z.string().regex(INTEGRITY).optional(),
    link: z.literal(false).optional(),
    inBundle: z.boolean().optional(),
    hasInstallScript: z.boolean().optional(),
    bin: z.record(z.string().regex(PROGRAM), z.string()).optional(),
    optionalDependencies: z.record(z.string(), z.string()).optional(),
  })
  .refine(({ integrity, inBundle }) => integrity !== undefined || inBundle === true, 'it has no digest')

/** The lock of npm itself, in its newest form. */
const npmLockShape = z.strictObject({
  name: z.literal('image'),
  version: z.literal('0.0.0'),
  lockfileVersion: z.literal(3),
  requires: z.literal(true).optional(),
  packages: z
    .strictObject({
      '': z.strictObject({
        name: z.literal('image'),
        version: z.literal('0.0.0'),
        dependencies: z.record(z.string().regex(NPM_NAME), z.string().regex(NPM_VERSION)),
      }),
    })
    .catchall(npmEntryShape)
    .superRefine((packages, context) => {
      for (const path of Object.keys(packages))
        if (path !== '' && !NPM_PATH.test(path))
          context.addIssue({ code: 'custom', path: [path], message: 'it is outside the folder that is installed' })
    }),
})

const pipFileShape = z.strictObject({
  name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/),
  version: z.string().regex(/^[0-9A-Za-z][0-9A-Za-z.!+_-]*$/),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
})

const wanted = z.array(z.string())
const lockShape = z.strictObject({
  npm: z.strictObject({ wanted, lock: npmLockShape }).optional(),
  pip: z
    .strictObject({ wanted, python: z.string().regex(/^\d+\.\d+$/), files: z.array(pipFileShape).readonly() })
    .optional(),
})

/** What is read of the lock of npm itself. */
export interface NpmLock {
  wanted: readonly string[]
  lock: { packages: Record<string, NpmEntry> }
}
interface NpmEntry {
  version?: string
  integrity?: string
  hasInstallScript?: boolean
  bin?: Record<string, string>
  optionalDependencies?: Record<string, string>
}
export interface PipLock {
  wanted: readonly string[]
  python: string
  files: readonly { name: string; version: string; sha256: string }[]
}
export interface Lock {
  npm?: NpmLock
  pip?: PipLock
}

/** The first fault, with what it is about; text of the file is quoted. */
const faultOf = ({ issues: [first] }: z.ZodError): string =>
  first === undefined ? 'it has another form' : `${JSON.stringify(first.path.join(' '))}: ${first.message}`

/** Such a key is not looked at below, and could be taken for what an object inherits. */
function noPrototype(key: string, value: unknown): unknown {
  if (key === '__proto__') throw new Error('a key that names a prototype')
  return value
}

/** What is kept for this image; nothing where there is no such file. Throws for one that no build has written. */
export function readLock(file: string): Lock {
  if (!existsSync(file)) return {}
  const refused = (why: string) =>
    new Error(`${file} is not the lock of an image's packages (${why}); remove it, and the next build writes it anew`)
  let said: unknown
  try {
    said = JSON.parse(readFileSync(file, 'utf8'), noPrototype)
  } catch {
    throw refused('it cannot be read')
  }
  const read = lockShape.safeParse(said)
  if (!read.success) throw refused(faultOf(read.error))
  // As it stands there: a build by it writes the same bytes again.
  return said as Lock
}

/** What npm resolved just now, in the same form. Throws naming a package that is of no registry. */
export function npmLockOf(said: unknown): NpmLock['lock'] {
  const read = npmLockShape.safeParse(said)
  if (!read.success)
    throw new Error(
      `packages.npm: something that they need is of no registry, or has no digest there (${faultOf(read.error)}); name versions that need nothing of that kind`,
    )
  return said as NpmLock['lock']
}
