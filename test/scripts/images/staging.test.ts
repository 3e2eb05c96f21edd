import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { stageFolder } from '../../../scripts/images/staging.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))
let dir: string
let folder: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sg-'))
  folder = join(dir, 'mine')
  mkdirSync(join(folder, 'deep'), { recursive: true })
})
afterEach(() => rmSync(dir, { recursive: true }))

const put = (name: string, text: string) => writeFileSync(join(folder, name), text)
const stage = () => stageFolder({ root, folder, stage: join(dir, 'stage'), place: 'agents/a' })
const staged = (name: string) => readFileSync(join(dir, 'stage', 'agents', 'a', name), 'utf8')

describe('an agent folder in the tree of the images', () => {
  test('imports the one copy of the SDK that the image holds, whether by package or by path, and its own files as they are', () => {
    const byPath = relative(folder, join(root, 'hub/client/agent.ts'))
    put('main.ts', "import { connect } from 'hub-sdk/agent.ts'\nimport './work.ts'\nimport { x } from 'node:fs'\n")
    put('work.ts', `import type { HubAgent } from "${byPath}"\nconst text = 'hub-sdk/agent.ts'\n`)
    put('deep/more.ts', "const sdk = await import('hub-sdk/agent.ts')\n")
    stage()
    expect(staged('main.ts')).toBe(
      "import { connect } from '../../hub/client/agent.ts'\nimport './work.ts'\nimport { x } from 'node:fs'\n",
    )
    expect(staged('work.ts')).toBe(
      `import type { HubAgent } from "../../hub/client/agent.ts"\nconst text = 'hub-sdk/agent.ts'\n`,
    )
    expect(staged('deep/more.ts')).toBe("const sdk = await import('../../../hub/client/agent.ts')\n")
  })

  test('takes no hidden file, no node_modules and no link, and leaves other files byte for byte', () => {
    put('main.py', "from 'hub-sdk/agent.ts'\r\n")
    put('.env', 'secret')
    mkdirSync(join(folder, 'node_modules'))
    put('node_modules/x.js', '')
    symlinkSync('/etc', join(folder, 'etc'))
    symlinkSync('/etc/passwd', join(folder, 'passwd.json'))
    stage()
    expect(readdirSync(join(dir, 'stage', 'agents', 'a'))).toEqual(['main.py'])
    expect(staged('main.py')).toBe("from 'hub-sdk/agent.ts'\r\n")
  })

  test('refuses an import that leads out of the folder to anything but this repository, and a folder that is no program', () => {
    writeFileSync(join(dir, 'other.ts'), '')
    put('main.ts', "import '../other.ts'\n")
    expect(stage).toThrow('main.ts imports ../other.ts, which is outside the folder')
    put('main.ts', '')
    put('large.json', Buffer.alloc(65 * 1024 * 1024).toString())
    expect(stage).toThrow("give data as a task's input")
  })
})
