/** One place says which Node is enough (`engines` of package.json): what `scripts/node` takes from PATH also assembles images. */
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { expect, test } from 'vitest'
import { leastNode, unfitNode } from '../../scripts/images/base.ts'

const SCRIPT = resolve(import.meta.dirname, '..', '..', 'scripts', 'node')

/** Whether `scripts/node` takes a Node of this version that stands first on PATH. */
function takes(version: string): boolean {
  const folder = mkdtempSync(join(tmpdir(), 'node-'))
  try {
    const fake = join(folder, 'node')
    writeFileSync(fake, `#!/bin/sh\necho ${version}\n`)
    chmodSync(fake, 0o755)
    const found = execFileSync(SCRIPT, {
      encoding: 'utf8',
      env: { ...process.env, PATH: `${folder}:${process.env.PATH}` },
    })
    return found.trim() === fake
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

test.each([
  ['v23.11.0', false],
  ['v24.0.0', true],
  ['v25.9.0', true],
  ['v26.12.1', true],
])('fault A8: Node %s on PATH: taken %s, and images agree', (version, fits) => {
  expect([takes(version), unfitNode(version, 'linux') === undefined]).toEqual([fits, fits])
})

test('fault A8: the refusal says what is enough and what to do', () => {
  expect(unfitNode('v20.1.0', 'linux')).toMatch(/Node 24 or later on Linux, this is v20\.1\.0 .*scripts\/node/)
  expect(unfitNode('v24.1.0', 'darwin')).toMatch(/on darwin/)
  expect(leastNode()).toBe(24)
})
