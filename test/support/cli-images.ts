/**
 * The image of a real coding agent: Codex from npm (Apache-2.0) on the base `shell`, assembled like any agent's. What the package installs for
 * this machine is one static program (`scripts/cli`), which never runs outside a container.
 */
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { CODING_CLIS } from '../../hub/protocol/coding-clis.ts'
import { additionEntries } from '../../scripts/images/additions.ts'
import { type Image, imageOf, layerOf } from '../../scripts/images/archive.ts'
import { assembleImages, commonPrograms } from '../../scripts/images/assembly.ts'
import { archOf } from '../../scripts/images/machine.ts'
import { fileData } from '../../scripts/images/tar.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

export type CliName = keyof typeof CODING_CLIS

/** Its program for this machine. `scripts/test` fetches it before any test runs; a test alone fetches it where npm needs nothing special. */
export function cliProgram(name: CliName): string {
  const script = join(root, 'scripts', 'cli')
  try {
    return execFileSync(script, ['path', name], { encoding: 'utf8' }).trim()
  } catch {
    try {
      execFileSync(script, ['up', name], { stdio: ['ignore', 'ignore', 'pipe'], encoding: 'utf8' })
    } catch (thrown) {
      throw new Error(`${name} is not there; run \`scripts/cli up\`: ${(thrown as { stderr?: string }).stderr ?? ''}`)
    }
    return execFileSync(script, ['path', name], { encoding: 'utf8' }).trim()
  }
}

/** What npm and pip must be told to install these CLIs without a network: from what `scripts/cli` has fetched. */
export function offlineEnv(...names: readonly CliName[]): Record<string, string> {
  const places = names.map((name) => ({ registry: CODING_CLIS[name].registry, place: cliProgram(name) }))
  const wheels = places.filter(({ registry }) => registry === 'pip').map(({ place }) => place)
  const cache = execFileSync(join(root, 'scripts', 'cli'), ['cache'], { encoding: 'utf8' }).trim()
  return {
    ...{ npm_config_cache: cache, npm_config_offline: 'true' },
    ...(wheels.length === 0
      ? {}
      : { PIP_NO_INDEX: '1', PIP_FIND_LINKS: wheels.map((folder) => pathToFileURL(folder).href).join(' ') }),
  }
}

/** With what a card with `mcp` gets beside it, or without. */
export function codexImage({ mcp }: { mcp: boolean }): Image {
  const options = { root, cacheDir: `${root}.cache/images`, folders: ['images/shell'], prefix: 'hub-test/' }
  const shell = assembleImages(options).find(({ reference }) => reference === 'hub-test/shell:latest')
  if (shell === undefined) throw new Error('images/shell made no image')
  const program = layerOf('codex', [
    { path: 'usr/local/bin/codex', kind: 'file', mode: 0o555, data: fileData(cliProgram('codex')) },
  ])
  const added = mcp ? [layerOf('mcp', additionEntries(root, 'mcp', commonPrograms(root)))] : []
  const name = mcp ? 'hub-test/codex-mcp:latest' : 'hub-test/codex:latest'
  return imageOf(name, [...shell.layers, ...added, program], archOf(), shell.note)
}
