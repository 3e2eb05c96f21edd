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
}

const fileOf = (home: string): string => join(home, 'image-builds.json')

const isBuild = (value: unknown): value is ImageBuild => {
  const { id, name, atMs } = (value ?? {}) as Record<keyof ImageBuild, unknown>
  return typeof id === 'string' && IMAGE_ID.test(id) && typeof name === 'string' && typeof atMs === 'number'
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

/** Adds these builds. Answers false if there is no such home yet, and nothing is written then. Throws what `replaceFile` throws. */
export function noteImageBuilds(home: string, built: readonly { id: string; name: string }[], nowMs: number): boolean {
  if (!existsSync(join(home, 'instance'))) return false
  const ids = new Set(built.map(({ id }) => id))
  const kept = readImageBuilds(home).filter(({ id }) => !ids.has(id))
  const all = [...kept, ...built.map(({ id, name }) => ({ id, name, atMs: nowMs }))].filter(isBuild)
  replaceFile(fileOf(home), `${JSON.stringify(all.slice(-BUILDS_MAX), null, 2)}\n`)
  return true
}
