/** Pushes made by git itself, and packs bent by hand. */
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { deflateSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ErrorCode } from '../../../../../hub/base/errors.ts'
import { judgeHead, judgePush, refusalFor } from '../../../../../hub/work/egress/wire.ts'
import { passedIn, refusalIn, upstreamOf } from '../../../../support/wire-requests.ts'

const upstream = upstreamOf('git', { repositories: ['me/*'], push: ['hub/*', 'drafts'] })
const NOTHING = '0'.repeat(40)

function judge(bytes: Buffer, change = {}) {
  const turns = judgePush({ ...upstream, ...change }, bytes)
  for (;;) {
    const turn = turns.next()
    if (turn.done) return turn.value
  }
}

const line = (text: string) => `${(text.length + 4).toString(16).padStart(4, '0')}${text}`
const CAPABILITIES = ' report-status-v2 side-band-64k object-format=sha1 agent=git/2.47.0'
/** The body of a push: its commands, and its pack. */
const pushOf = (
  commands: readonly [from: string, to: string, ref: string][],
  pack: Buffer,
  capabilities = CAPABILITIES,
) =>
  Buffer.concat([
    Buffer.from(
      commands
        .map(([from, to, ref], at) => line(`${from} ${to} ${ref}${at === 0 ? `\0${capabilities}` : ''}`))
        .join(''),
    ),
    Buffer.from('0000'),
    pack,
  ])

let folder = ''
let clock = 0
const git = (args: string[], input = '') => {
  clock += 1
  const date = `${1_700_000_000 + clock} +0000`
  const env = {
    ...process.env,
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_CONFIG_SYSTEM: '/dev/null',
    GIT_AUTHOR_DATE: date,
    GIT_COMMITTER_DATE: date,
  }
  const { stdout, status, stderr } = spawnSync(
    'git',
    ['-c', 'user.name=a', '-c', 'user.email=a@example.org', '-C', folder, ...args],
    { env, input, maxBuffer: 64 * 1024 ** 2 },
  )
  if (status !== 0) throw new Error(`git ${args.join(' ')}: ${stderr.toString()}`)
  return stdout
}
/** A commit with this file changed; returns its id. */
const commit = (file: string, text: string) => {
  mkdirSync(dirname(join(folder, file)), { recursive: true })
  writeFileSync(join(folder, file), text)
  git(['add', '-A'])
  git(['commit', '-qm', `change ${file}`])
  return git(['rev-parse', 'HEAD']).toString().trim()
}
/** What git packs between two commits, without deltas or as it would by itself. */
const packOf = (to: string, from: string, options = ['--depth=0']) =>
  git(['pack-objects', '--quiet', '--stdout', '--revs', ...options], from === NOTHING ? `${to}\n` : `${to}\n^${from}\n`)

let [first, second, third] = ['', '', '']
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'push-'))
  git(['init', '-q', '-b', 'main', '.'])
  first = commit('src/a.txt', 'one\n'.repeat(500))
  second = commit('src/a.txt', `${'one\n'.repeat(500)}two\n`)
  third = commit('docs/b.txt', 'three\n')
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('a push', () => {
  it('passes to a branch that is listed: new, and as what comes after the old one', () => {
    expect(passedIn(judge(pushOf([[NOTHING, third, 'refs/heads/hub/fix']], packOf(third, NOTHING)))).branches).toEqual([
      'hub/fix',
    ])
    expect(passedIn(judge(pushOf([[first, third, 'refs/heads/drafts']], packOf(third, first)))).branches).toEqual([
      'drafts',
    ])
    const both = pushOf(
      [
        [first, second, 'refs/heads/hub/a'],
        [NOTHING, third, 'refs/heads/hub/b'],
      ],
      packOf(third, first),
    )
    expect(passedIn(judge(both)).branches).toEqual(['hub/a', 'hub/b'])
  })

  it('passes as the question whether one may push, which names no branch', () => {
    expect(passedIn(judge(Buffer.from('0000'))).branches).toEqual([])
    expect(refusalIn(judge(Buffer.from('0000PACK'))).detail).toContain('names no branch')
  })

  it('after a merge passes by either side of it', () => {
    git(['checkout', '-q', '-b', 'side', first])
    const side = commit('side.txt', 'side\n')
    git(['checkout', '-q', 'main'])
    git(['merge', '-q', '--no-ff', '-m', 'merge', 'side'])
    const merge = git(['rev-parse', 'HEAD']).toString().trim()
    expect(passedIn(judge(pushOf([[side, merge, 'refs/heads/hub/m']], packOf(merge, side)))).branches).toEqual([
      'hub/m',
    ])
    expect(passedIn(judge(pushOf([[third, merge, 'refs/heads/hub/m']], packOf(merge, third)))).branches).toEqual([
      'hub/m',
    ])
    git(['reset', '-q', '--hard', third])
  })

  it.each([
    ['refs/heads/main', 'not listed'],
    ['refs/heads/hub', 'not listed'],
    ['refs/heads/hubs/x', 'not listed'],
    ['refs/heads/drafts/x', 'not listed'],
    ['refs/tags/v1', 'only branches'],
    ['refs/for/main', 'only branches'],
    ['refs/heads/hub/../main', 'only branches'],
    ['refs/heads/hub//x', 'only branches'],
    ['refs/heads/hub/x.lock', 'only branches'],
    ['refs/heads/hub/x\u0001', 'only branches'],
    ['HEAD', 'only branches'],
  ])('is refused to any other ref: %s', (ref, words) => {
    expect(refusalIn(judge(pushOf([[NOTHING, third, ref]], packOf(third, NOTHING)))).detail).toContain(words)
    const second = pushOf(
      [
        [NOTHING, third, 'refs/heads/hub/a'],
        [NOTHING, third, ref],
      ],
      packOf(third, NOTHING),
    )
    expect(refusalIn(judge(second)).detail).toContain(words)
  })

  it('is refused if it deletes, also beside one that does not', () => {
    expect(refusalIn(judge(pushOf([[first, NOTHING, 'refs/heads/hub/a']], Buffer.alloc(0)))).detail).toContain(
      'deleted',
    )
    const both = pushOf(
      [
        [first, second, 'refs/heads/hub/a'],
        [first, NOTHING, 'refs/heads/hub/b'],
      ],
      packOf(second, first),
    )
    expect(refusalIn(judge(both)).detail).toContain('deleted')
  })

  it('is refused if commits would be lost, or if that cannot be seen', () => {
    git(['checkout', '-q', '-b', 'other', first])
    const other = commit('other.txt', 'x\n')
    git(['checkout', '-q', 'main'])
    const forced: [string, string, string][] = [
      [third, other, 'another line'],
      [third, first, 'back to an old commit'],
      ['a'.repeat(40), third, 'an old commit that nobody has'],
    ]
    for (const [from, to, why] of forced)
      expect(refusalIn(judge(pushOf([[from, to, 'refs/heads/hub/a']], packOf(to, NOTHING)))).detail, why).toContain(
        'lose commits',
      )
  })

  it.each(['.github/workflows/ci.yml', '.gitea/workflows/ci.yml', 'elsewhere/workflows/ci.yml', 'a/b/Workflows/x'])(
    'is refused if it changes a folder with workflows in it, wherever: %s',
    (file) => {
      const to = commit(file, 'on: push\n')
      const after = commit('src/a.txt', 'later\n')
      const push = (from: string, to: string) => judge(pushOf([[from, to, 'refs/heads/hub/a']], packOf(to, from)))
      expect(refusalIn(push(third, to)).detail).toContain('workflows')
      expect(refusalIn(push(third, after)).detail).toContain('workflows')
      // Beside it, and without a change of it, work goes on.
      expect(passedIn(push(to, after)).branches).toEqual(['hub/a'])
      git(['reset', '-q', '--hard', third])
    },
  )

  it('may bring workflows where each of its branches is listed for that, and the refusal names the key', () => {
    const to = commit('.github/workflows/ci.yml', 'on: push\n')
    const push = (workflows: readonly string[], ...branches: string[]) =>
      judge(
        pushOf(
          branches.map((branch) => [third, to, `refs/heads/${branch}`]),
          packOf(to, third),
        ),
        { workflows },
      )
    expect(passedIn(push(['hub/ci'], 'hub/ci'))).toEqual({ branches: ['hub/ci'], workflows: true })
    expect(passedIn(push(['hub/*'], 'hub/a', 'hub/b')).workflows).toBe(true)
    expect(passedIn(judge(pushOf([[first, third, 'refs/heads/hub/a']], packOf(third, first)))).workflows).toBe(false)
    for (const workflows of [[], ['hub/other'], ['hub']])
      expect(refusalIn(push(workflows, 'hub/ci')).detail).toContain(
        'or add hub/ci to upstreams.up.workflows in hub.yaml',
      )
    // A folder belongs to no one branch of a push.
    expect(refusalIn(push(['hub/ci'], 'hub/ci', 'hub/a')).detail).toContain('add hub/a to')
    // What is listed lifts nothing else.
    const forced = pushOf([[second, to, 'refs/heads/main']], packOf(to, second))
    expect(refusalIn(judge(forced, { workflows: ['main'] })).detail).toContain('the branch main is not listed')
    git(['reset', '-q', '--hard', third])
  })

  it('is refused with deltas, whose objects cannot be judged, and says how to push without them', () => {
    const pack = packOf(second, NOTHING, [])
    expect(refusalIn(judge(pushOf([[NOTHING, second, 'refs/heads/hub/a']], pack))).detail).toContain(
      'git -c pack.depth=0 push',
    )
  })

  it('is refused with options, signed, or in a form that is not read', () => {
    const [command, pack]: [[string, string, string][], Buffer] = [
      [[NOTHING, third, 'refs/heads/hub/a']],
      packOf(third, NOTHING),
    ]
    const details = (bytes: Buffer) => refusalIn(judge(bytes)).detail
    expect(details(pushOf(command, pack, ' report-status push-options'))).toContain('push without -o')
    expect(details(pushOf(command, pack, ' push-cert=abc'))).toContain('signed')
    expect(details(Buffer.concat([Buffer.from(line(`shallow ${first}`)), pushOf(command, pack)]))).toContain('shallow')
    expect(details(pushOf([['0'.repeat(64), 'a'.repeat(64), 'refs/heads/hub/a']], pack))).toContain('SHA-256')
    expect(details(Buffer.from('00'))).toContain('commands that can be read')
    expect(details(Buffer.from('0003'))).toContain('commands that can be read')
    expect(details(Buffer.from('ffff0000'))).toContain('commands that can be read')
    expect(details(pushOf(command, Buffer.alloc(0)))).toContain('no pack')
    expect(details(pushOf(command, Buffer.concat([pack, Buffer.from('x')])))).toContain('follows the pack')
    expect(details(pushOf(command, pack.subarray(0, -1)))).toContain('end is missing')
    const many = Array.from({ length: 33 }, (_, at): [string, string, string] => [
      NOTHING,
      third,
      `refs/heads/hub/${at}`,
    ])
    expect(details(pushOf(many, pack))).toContain('at most 32')
    expect(refusalIn(judge(pushOf(command, pack), { bodyBytesMax: 100 })).code).toBe('too_large')
  })

  it('never throws for bytes that were changed, and unpacks no more than it says', () => {
    const whole = pushOf([[first, third, 'refs/heads/hub/a']], packOf(third, first))
    for (let at = 0; at < whole.length; at += 1)
      for (const flip of [0x01, 0x80]) {
        const bent = Buffer.from(whole)
        bent[at] = (bent[at] ?? 0) ^ flip
        judge(bent)
      }
    const bomb = (size: number, data: Buffer) => {
      const head: number[] = [(3 << 4) | (size & 15)]
      for (let rest = size >> 4; rest > 0; rest >>= 7) {
        head[head.length - 1] = (head.at(-1) ?? 0) | 128
        head.push(rest & 127)
      }
      const pack = Buffer.concat([
        Buffer.from('PACK\0\0\0\x02\0\0\0\x01', 'latin1'),
        Buffer.from(head),
        deflateSync(data),
      ])
      return pushOf(
        [[NOTHING, third, 'refs/heads/hub/a']],
        Buffer.concat([pack, createHash('sha1').update(pack).digest()]),
      )
    }
    expect(passedIn(judge(bomb(3, Buffer.from('abc')))).branches).toEqual(['hub/a'])
    expect(refusalIn(judge(bomb(3, Buffer.alloc(1024 ** 2)))).detail).toContain('cannot be unpacked')
    expect(refusalIn(judge(bomb(17 * 1024 ** 2, Buffer.alloc(1)))).code).toBe('too_large')
  })

  it('of git itself passes with pack.depth=0, from a packed repository too, and shows the words of a refusal', async () => {
    git(['gc', '-q'])
    const asked: string[] = []
    const server = createServer((request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        const answer = answerOf(request.method ?? '', request.url ?? '', request.rawHeaders, Buffer.concat(chunks))
        asked.push(`${request.method} ${answer.passed}`)
        for (const [name, value] of answer.headers) response.setHeader(name, value)
        response.writeHead(answer.status).end(answer.body)
      })
    })
    const answerOf = (method: string, target: string, headers: string[], body: Buffer) => {
      const form = (name: string): [string, string][] => [['content-type', `application/x-git-receive-pack-${name}`]]
      const no = (judged: { code: ErrorCode; detail: string }) => ({
        ...refusalFor('git', judged.code, judged.detail, target),
        passed: judged.code,
      })
      const head = judgeHead(upstream, { method, target, headers })
      if ('code' in head) return no(head)
      if (method === 'GET') {
        const text = `${line('# service=git-receive-pack\n')}0000${line(`${first} refs/heads/hub/a\0report-status side-band-64k delete-refs ofs-delta`)}0000`
        return { status: 200, headers: form('advertisement'), body: Buffer.from(text), passed: 'yes' }
      }
      const judged = judge(body)
      if ('code' in judged) return no(judged)
      const report = `${line('unpack ok\n')}${line('ok refs/heads/hub/a\n')}0000`
      return {
        status: 200,
        headers: form('result'),
        body: Buffer.from(`${line(`\u0001${report}`)}0000`),
        passed: 'yes',
      }
    }
    const port = await new Promise<number>((resolve) =>
      server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port)),
    )
    const push = async (repository: string, ...args: string[]) => {
      const env = {
        ...process.env,
        GIT_CONFIG_GLOBAL: '/dev/null',
        GIT_CONFIG_SYSTEM: '/dev/null',
        GIT_TERMINAL_PROMPT: '0',
        LANG: 'C',
      }
      const child = spawn(
        'git',
        ['-C', folder, ...args, `http://127.0.0.1:${port}/${repository}`, `${third}:refs/heads/hub/a`],
        { env },
      )
      let words = ''
      child.stderr.on('data', (chunk: Buffer) => {
        words += chunk.toString()
      })
      const code = await new Promise<number | null>((resolve) => child.on('close', resolve))
      return { code, words }
    }
    try {
      expect(await push('me/tool', '-c', 'pack.depth=0', 'push')).toMatchObject({ code: 0 })
      const refused = await push('me/tool', 'push')
      expect(refused.code).not.toBe(0)
      expect(refused.words).toContain('remote: egress_denied: the push brings objects as differences to others')
      expect((await push('other/tool', 'push')).words).toContain(
        'remote: egress_denied: the repository other/tool is not listed',
      )
      expect(asked).toEqual(['GET yes', 'POST yes', 'GET yes', 'POST egress_denied', 'GET egress_denied'])
    } finally {
      server.close()
    }
  })
})
