/** What lies on PATH is proposed and nothing else (S4-35). */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { probe } from '../../../../../hub/client/cli/agents/catalogue.ts'

it('proposes each CLI with a recipe once, the first on PATH, and runs none of them (S4-35)', () => {
  const folder = mkdtempSync(join(tmpdir(), 'pr-'))
  try {
    const put = (place: string, mode = 0o755) => {
      mkdirSync(join(folder, place, '..'), { recursive: true })
      writeFileSync(join(folder, place), `#!/bin/sh\ntouch ${folder}/ran\n`)
      chmodSync(join(folder, place), mode)
      return join(folder, place)
    }
    put('a/codex', 0o644)
    const codex = put('b/codex')
    put('c/codex')
    mkdirSync(join(folder, 'a/gemini'))
    expect(probe(['codex', 'gemini'], ['a', 'b', 'c'].map((each) => join(folder, each)).join(':'))).toEqual([
      { lang: 'codex', path: codex },
    ])
    expect(probe(['codex'], 'relative:')).toEqual([])
    expect(() => rmSync(join(folder, 'ran'))).toThrow('ENOENT')
  } finally {
    rmSync(folder, { recursive: true })
  }
})
