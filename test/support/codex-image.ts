/**
 * The image of a real coding agent: Codex from npm (Apache-2.0) on the base `shell`, assembled like any agent's. What the package installs for
 * this machine is one static program; it is fetched once per checkout and never runs outside a container.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Image, imageOf, layerOf } from '../../scripts/images/archive.ts'
import { assembleImages } from '../../scripts/images/assembly.ts'
import { archOf } from '../../scripts/images/machine.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
/** Its ways are measured for this version; another one is another test. */
export const CODEX_VERSION = '0.171.0'
const TARGETS: Record<string, string> = { x64: 'x86_64-unknown-linux-musl', arm64: 'aarch64-unknown-linux-musl' }

/** The program for this machine, fetched from npm where it is not there yet. */
function codexProgram(): string {
  const folder = join(root, '.cache', `codex-${CODEX_VERSION}`)
  const arch = archOf()
  const program = join(folder, `node_modules/@openai/codex-linux-${arch}/vendor/${TARGETS[arch]}/bin/codex`)
  if (!existsSync(program))
    execFileSync(
      'npm',
      [
        'install',
        '--prefix',
        folder,
        '--ignore-scripts',
        '--no-save',
        '--no-audit',
        '--no-fund',
        `@openai/codex@${CODEX_VERSION}`,
      ],
      { stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, npm_config_update_notifier: 'false' } },
    )
  return program
}

export function codexImage(): Image {
  const options = { root, cacheDir: `${root}.cache/images`, folders: ['images/shell'], prefix: 'hub-test/' }
  const shell = assembleImages(options).find(({ reference }) => reference === 'hub-test/shell:latest')
  if (shell === undefined) throw new Error('images/shell made no image')
  const program = layerOf('codex', [
    { path: 'usr/local/bin/codex', kind: 'file', mode: 0o555, data: readFileSync(codexProgram()) },
  ])
  return imageOf('hub-test/codex:latest', [...shell.layers, program], archOf(), shell.note)
}
