/** One place says which Node is enough (`engines` of package.json): what `scripts/node` takes from PATH also assembles images. */
import { execFileSync, spawnSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
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

test('fault F18: a Node that the registry hands out under the pinned version, and that is another one, is refused before it ever runs', () => {
  const folder = mkdtempSync(join(tmpdir(), 'node-'))
  try {
    const [root, bin, ran] = [join(folder, 'checkout'), join(folder, 'bin'), join(folder, 'ran')]
    for (const each of [join(root, 'scripts'), bin]) mkdirSync(each, { recursive: true })
    copyFileSync(SCRIPT, join(root, 'scripts', 'node'))
    writeFileSync(join(root, 'package.json'), '{"engines": {"node": ">=24"}}')
    // Says that it is the wanted version, and leaves a mark when it is started.
    const evil = `#!/bin/sh\ntouch ${ran}\necho v24.21.0\n`
    const npm = `#!/bin/sh
      for word in "$@"; do case $last in --prefix) stage=$word ;; esac; last=$word; package=\${word%@*}; done
      mkdir -p "$stage/node_modules/$package/bin"
      printf '%s' '${evil}' > "$stage/node_modules/$package/bin/node"
      chmod 755 "$stage/node_modules/$package/bin/node"`
    writeFileSync(join(bin, 'npm'), npm, { mode: 0o755 })
    const env = { HOME: folder, PATH: `${bin}:/usr/bin:/bin` }
    const { status, stderr } = spawnSync('/bin/bash', [join(root, 'scripts', 'node')], { encoding: 'utf8', env })
    expect(stderr).toMatch(/is not the pinned one \(SHA-256 [0-9a-f]{64}, expected [0-9a-f]{64}\)/)
    expect([status, existsSync(ran), existsSync(join(root, '.tools', 'node-24'))]).toEqual([3, false, false])
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test('fault F18: the base of the assembly in a container is named by its digest, which whoever builds looks up', () => {
  const text = readFileSync(join(SCRIPT, '..', '..', 'images', 'agent', 'Dockerfile'), 'utf8')
  expect(text.match(/^FROM .*$/gm)?.join()).toBe(`FROM node@sha256:$${'{NODE_SHA256}'}`)
  expect(text).toMatch(/^ARG NODE_SHA256$/m)
})
