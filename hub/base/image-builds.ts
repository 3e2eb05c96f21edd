/**
 * `HOME/image-builds.json`: which images were assembled by this checkout for this home, by the id that the engine gave them (S1-56). The
 * assembly writes it once the engine shows the image exactly as it was assembled; the hub reads it.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { replaceFile } from './whole-file.ts'

const IMAGE_ID = /^sha256:[0-9a-f]{64}$/
/** More than anybody has agents. The oldest go first. */
const BUILDS_MAX = 1000
const BYTES_MAX = 1024 ** 2

export interface ImageBuild {
  id: string
  name: string
  /** Epoch ms. */
  atMs: number
  /** The image that it stands on, where that is not of ours: its id, what it was named, and the registries' digests of it. */
  from?: { id: string; name: string; digests: readonly string[] }
  /** What was installed into it, by its exact version and the registry's digest. */
  packages?: readonly string[]
  /** What it holds because its card asked when it was built (protocol/additions.ts). */
  additions?: readonly string[]
}

const isFrom = (value: unknown): boolean => {
  const { id, name } = (value ?? {}) as { id: unknown; name: unknown }
  return typeof id === 'string' && IMAGE_ID.test(id) && typeof name === 'string'
}

const fileOf = (home: string): string => join(home, 'image-builds.json')

const isBuild = (value: unknown): value is ImageBuild => {
  const { id, name, atMs, from, additions } = (value ?? {}) as Record<keyof ImageBuild, unknown>
  const isKnown = typeof id === 'string' && IMAGE_ID.test(id) && typeof name === 'string' && typeof atMs === 'number'
  return isKnown && (from === undefined || isFrom(from)) && (additions === undefined || Array.isArray(additions))
}

/** Oldest first; empty if there is no such file or it cannot be read, so nothing counts as built because of it. */
export function readImageBuilds(home: string): ImageBuild[] {
  try {
    const text = readFileSync(fileOf(home), 'utf8')
    const said: unknown = text.length > BYTES_MAX ? [] : JSON.parse(text)
    return Array.isArray(said) ? said.filter(isBuild) : []
  } catch {
    return []
  }
}

function rowOf({ id, name, from, packages, additions }: Omit<ImageBuild, 'atMs'>, atMs: number): ImageBuild {
  return {
    ...{ id, name, atMs },
    ...(from === undefined ? {} : { from }),
    ...(packages === undefined || packages.length === 0 ? {} : { packages }),
    ...(additions === undefined || additions.length === 0 ? {} : { additions }),
  }
}

/** Adds these builds. Answers false if there is no such home yet, and nothing is written then. Throws what `replaceFile` throws. */
export function noteImageBuilds(home: string, built: readonly Omit<ImageBuild, 'atMs'>[], nowMs: number): boolean {
  if (!existsSync(join(home, 'instance'))) return false
  const ids = new Set(built.map(({ id }) => id))
  const kept = readImageBuilds(home).filter(({ id }) => !ids.has(id))
  let all = [...kept, ...built.map((each) => rowOf(each, nowMs))].filter(isBuild)
  all = all.slice(-BUILDS_MAX)
  const text = () => `${JSON.stringify(all, null, 2)}\n`
  // A file above the limit counts as none.
  while (text().length > BYTES_MAX) all = all.slice(Math.ceil(all.length / 10))
  replaceFile(fileOf(home), text())
  return true
}
