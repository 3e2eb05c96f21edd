/**
 * What asks for none of the newer keys (`tools`, `packages`, `from`) is made as it was before there were any: the same bytes, so the same id. The
 * same promise for the body of the create call stands in test/hub/work/sandbox/profile.test.ts.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { archiveOf, sha256Of } from '../../../scripts/images/archive.ts'
import { assembleImages } from '../../../scripts/images/assembly.ts'

let root = ''
beforeAll(() => {
  root = mkdtempSync('/tmp/hub-unchanged-')
  const put = (path: string, text: string) => {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), text)
  }
  put('images/agent/shim.ts', "import { connect } from '../../hub/client/agent.ts'\nvoid connect()\n")
  put('hub/client/agent.ts', 'export const connect = (): number => 1\n')
  put('images/plain/agent.yaml', 'name: plain\n')
  put('images/plain/main.ts', "import '../../hub/client/agent.ts'\n")
  put('images/said/image.yaml', 'base: node\n')
  put('images/said/agent.yaml', 'name: said\n')
  put('images/said/main.ts', 'export const a: string = "a"\n')
  put('node', 'n'.repeat(700))
  put('libc.so.6', 'c'.repeat(1500))
})
afterAll(() => rmSync(root, { recursive: true, force: true }))

test('images without the newer keys have the ids and the archive that they always had', () => {
  const images = assembleImages({
    root,
    cacheDir: join(root, 'cache'),
    folders: ['images/plain', 'images/said'],
    prefix: 'hub/',
    parts: {
      arch: 'x64',
      node: join(root, 'node'),
      libraries: [{ path: '/lib/libc.so.6', from: join(root, 'libc.so.6') }],
      own: false,
    },
  })
  expect(images.map(({ reference, configDigest }) => `${reference} ${configDigest}`)).toMatchInlineSnapshot(`
    [
      "hub/agent:latest sha256:5f2a3c215936906b673a0d84c65c5a3fdb8481dd18caf74ef5ca1b8a7f835ca6",
      "hub/plain:latest sha256:85b1389251e631946e113e4f711b1c4a4cc15fd2f1c25797a3874401b21a19d9",
      "hub/said:latest sha256:1b366d6e57928d90ee3aef10ac1b4e65c500dbf081596808a406f1df59a0466d",
    ]
  `)
  expect(sha256Of(archiveOf(images))).toMatchInlineSnapshot(
    `"a79bc65b34572eeefe399e815b49c747c1c5dd630f889cedb0eb0742b3ce8ca6"`,
  )
})
