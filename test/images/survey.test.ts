import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { joinReport, reportText } from '../../images/survey-lead/report.ts'
import { chunkFindings, createAnalysis, judgeMode } from '../../images/survey-reader/analyse.ts'
import type { Findings } from '../../images/survey-reader/finding.ts'
import { findSecrets, mask } from '../../images/survey-reader/secrets.ts'

// Put together here, so that no search for secrets finds them in this file.
const AWS = ['AKIA', 'IOSFODNN7QXZPTWE'].join('')
const GITHUB = ['ghp', '_', 'a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8'].join('')
const JWT = ['eyJhbGciOiJIUzI1NiJ9', 'eyJzdWIiOiIxMjM0NTY3ODkwIn0', 'dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U'].join(
  '.',
)
const PASSWORD = 'tr0ub4dor&3-zebra'
const TODO = ['// TO', 'DO'].join('')
const FIXME = ['// FIX', 'ME'].join('')

let dir = ''
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sv-'))
})
afterEach(() => rmSync(dir, { recursive: true }))

const write = (path: string, content: string | Buffer, mode = 0o644) => {
  mkdirSync(dirname(join(dir, path)), { recursive: true })
  writeFileSync(join(dir, path), content)
  chmodSync(join(dir, path), mode)
}
const sh = (command: string) => execFileSync('sh', ['-c', command], { cwd: dir, encoding: 'utf8' }).trim()

/** Every file that git lists, in chunks of a few bytes, so that every boundary is crossed. */
function analyse(chunkBytes = 5): Findings {
  const analysis = createAnalysis()
  for (const path of sh('git ls-files --cached --others').split('\n').sort()) {
    const bytes = readFileSync(join(dir, path))
    const file = analysis.file({ path, mode: statSync(join(dir, path)).mode & 0o7777, size: bytes.length })
    for (let at = 0; at < bytes.length; at += chunkBytes) file.push(bytes.subarray(at, at + chunkBytes))
    file.end()
  }
  return analysis.findings()
}

function plantTree(): void {
  sh('git init -q')
  write('src/a.ts', `const a = 1\n${TODO}: write tests\n\nconst key = '${AWS}'\n`)
  write('src/b.ts', `${FIXME} mend this, ${GITHUB}\nlast line without its end`)
  write('deploy.env', `PORT=8080\nDB_PASSWORD=${PASSWORD}\n`)
  write('key.pem', '-----BEGIN RSA PRIVATE ' + 'KEY-----\nMIIE\n')
  write('token.py', `#!/usr/bin/env python3\nt = "${JWT}"\n`, 0o755)
  write('tool', '#!/bin/sh\necho hi\n', 0o755)
  write('notes.txt', 'héllo\nwörld\r\n\n', 0o666)
  write('data.bin', Buffer.concat([Buffer.from(`x\n${TODO} ${AWS}\n`), Buffer.from([0, 10, 10])]), 0o755)
  write('empty', '')
  write('sue', 'x\n', 0o4755)
}

describe('the survey’s analysis', () => {
  test('agrees with git ls-files and wc -l on files, bytes and lines, whatever the chunks', () => {
    plantTree()
    for (const chunkBytes of [1, 5, 100_000]) {
      const { totals, languages } = analyse(chunkBytes)
      expect(totals.files).toBe(Number(sh('git ls-files -co | wc -l')))
      expect(totals.lines).toBe(Number(sh('git ls-files -coz | xargs -0 cat | wc -l')))
      expect(totals.bytes).toBe(Number(sh('git ls-files -coz | xargs -0 cat | wc -c')))
      const lines = Object.fromEntries(languages.map((row) => [row.language, row.lines]))
      expect(lines.TypeScript).toBe(Number(sh('cat src/*.ts | wc -l')))
      expect(lines.Python).toBe(2)
      expect(lines.Shell).toBe(2)
      expect(lines.Text).toBe(3)
      expect(lines.Binary).toBe(Number(sh('cat data.bin | wc -l')))
      expect(totals.binaryFiles).toBe(1)
    }
  })

  test('finds every planted secret at its place, nothing in binary files, and shows none whole', () => {
    plantTree()
    const findings = analyse()
    expect(findings.secrets.map(({ path, line, rule }) => `${path}:${line} ${rule}`).sort()).toEqual([
      'deploy.env:2 assigned-secret',
      'key.pem:1 private-key',
      'src/a.ts:4 aws-access-key',
      'src/b.ts:1 github-token',
      'token.py:2 json-web-token',
    ])
    const report = joinReport([], [{ part: 1, session: 's', files: 1, bytes: 1, findings }], [])
    const shown = JSON.stringify(report) + reportText(report)
    for (const secret of [AWS, GITHUB, JWT, PASSWORD]) {
      expect(shown).not.toContain(secret)
      expect(shown).not.toContain(secret.slice(0, 8))
    }
  })

  test('lists notes with their places and masks a secret inside one', () => {
    plantTree()
    expect(analyse().notes).toEqual([
      { path: 'src/a.ts', line: 2, kind: TODO.slice(3), text: `${TODO.slice(3)}: write tests` },
      { path: 'src/b.ts', line: 1, kind: FIXME.slice(3), text: `${FIXME.slice(3)} mend this, ghp_… (40 characters)` },
    ])
  })

  test('names setuid, world-writable and executable files that are no programs', () => {
    plantTree()
    expect(analyse().modes.map(({ path, mode }) => `${mode} ${path}`)).toEqual([
      '0755 data.bin',
      '0666 notes.txt',
      '4755 sue',
    ])
    expect(judgeMode(0o755, Buffer.from('\x7fELF'))).toBeUndefined()
    expect(judgeMode(0o2755, Buffer.from('#!'))).toContain('setgid')
  })

  test('takes terminal escapes and bidirectional marks out of what it quotes', () => {
    sh('git init -q')
    write('a.c', `${TODO}\u001b[31m red \u202e reversed\n`)
    expect(analyse().notes[0]?.text).toBe(`${TODO.slice(3)} [31m red   reversed`)
  })

  test('reads a line of any length in bounded memory, and says that it did not search all of it', () => {
    const analysis = createAnalysis()
    const file = analysis.file({ path: 'min.js', mode: 0o644, size: 0 })
    for (let count = 0; count < 200; count += 1) file.push(Buffer.alloc(100_000, 'x'))
    file.push(Buffer.from('\nend\n'))
    file.end()
    expect(analysis.findings().totals).toMatchObject({ lines: 2, longLines: 1, bytes: 20_000_005 })
  })

  test('is quiet about digests, placeholders, alphabets and plain words', () => {
    const hash = createHash('sha256').update('x')
    const integrity = createHash('sha512').update('x').digest('base64')
    for (const line of [
      `const digest = "${hash.digest('hex')}"`,
      `"integrity": "sha512-${integrity}"`,
      'password = "changeme-please-1"',
      // biome-ignore lint/suspicious/noTemplateCurlyInString: a placeholder is the point
      'token: "${TOKEN}-value1"',
      'const BASE = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"',
      'password: z.string().min(8)',
      'secretary = "Mrs. Smith"',
    ]) {
      expect(findSecrets(line), line).toEqual([])
    }
    expect(findSecrets(`const k = "${integrity.slice(0, 60)}"`)).toMatchObject([{ rule: 'high-entropy' }])
  })

  test('a mask never shows more than four characters nor a quarter of the value (property)', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 8, maxLength: 60 }), (value) => {
        const shown = mask('x', value).split('…')[0] ?? ''
        expect(shown.length).toBeLessThanOrEqual(Math.min(4, value.length / 4))
      }),
    )
  })

  test('cuts any findings into bodies that pass the hub, and loses no row', () => {
    const findings = createAnalysis().findings()
    findings.notes = Array.from({ length: 2_000 }, (_, line) => ({
      path: 'p'.repeat(200),
      line,
      kind: 'x',
      text: 'é'.repeat(160),
    }))
    findings.modes = findings.notes.map(() => ({ path: 'a', mode: '0777', why: 'x' }))
    const chunks = chunkFindings(findings)
    for (const chunk of chunks) expect(Buffer.byteLength(JSON.stringify({ part: 1, ...chunk }))).toBeLessThan(64 * 1024)
    expect(chunks.flatMap(({ kind, items }) => (kind === 'notes' ? items : []))).toEqual(findings.notes)
    expect(Math.max(...chunks.map(({ items }) => items.length))).toBeLessThanOrEqual(500)
    expect(chunks.at(-1)?.kind).toBe('totals')
  })
})
