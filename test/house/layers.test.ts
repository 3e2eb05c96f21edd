import { describe, expect, it } from 'vitest'
import { judgeLayers, readImports } from './layers.ts'
import { readTree } from './source.ts'

const project = readTree(['hub', 'watchdog', 'images'], ['.ts', '.js', '.mjs'])

/** A made-up tree: every file named is there, and holds the text given. */
function judge(files: Record<string, string>): string[] {
  return judgeLayers(new Map(Object.entries(files)))
}

describe('the layers of this repository', () => {
  it('point inward only, without a circle [watch-24]', () => {
    expect([...project.keys()].filter((path) => path.startsWith('hub/')).length).toBeGreaterThan(0)
    expect(judgeLayers(project)).toEqual([])
  })
})

describe('the layer check', () => {
  it('accepts imports that point inward, in every place', () => {
    expect(
      judge({
        'hub/base/clock.ts': "import { hrtime } from 'node:process'",
        'hub/protocol/ids.ts': "import { z } from 'zod'\nimport '../base/clock.ts'",
        'hub/store/database.ts': "import type { Name } from '../protocol/ids.ts'",
        'hub/guard/gate.ts': "export { open } from '../store/database.ts'",
        'hub/guard/policy/engine.ts': "import { gate } from '../gate.ts'",
        'hub/work/registry.ts': "const gate = await import('../guard/gate.ts')",
        'hub/edge/serve.ts': "import '../work/registry.ts'",
        'hub/client/agent.ts': "import type { Name } from '../protocol/ids.ts'\nimport WebSocket from 'ws'",
        'hub/client/cli.ts': "import './agent.ts'",
        'hub/hub.ts': "import './edge/serve.ts'",
        'images/echo/main.ts': "import { join } from '../../hub/client/agent.ts'",
        'watchdog/judge/judge.ts': '',
        'watchdog/main.ts': "import './judge/judge.ts'",
      }),
    ).toEqual([])
  })

  const outward: [string, string, string][] = [
    ['base', 'hub/base/loop.ts', 'hub/protocol/ids.ts'],
    ['protocol', 'hub/protocol/task.ts', 'hub/store/database.ts'],
    ['store', 'hub/store/database.ts', 'hub/guard/gate.ts'],
    ['guard', 'hub/guard/gate.ts', 'hub/work/registry.ts'],
    ['work', 'hub/work/registry.ts', 'hub/edge/serve.ts'],
    ['edge', 'hub/edge/serve.ts', 'hub/hub.ts'],
    ['work', 'hub/work/registry.ts', 'hub/observe/metrics.ts'],
    ['edge', 'hub/edge/serve.ts', 'hub/observe/metrics.ts'],
    ['edge', 'hub/edge/people/http.ts', 'hub/client/connection.ts'],
    ['client', 'hub/client/cli.ts', 'hub/store/database.ts'],
    ['agent', 'hub/client/agent.ts', 'hub/client/cli.ts'],
    ['watchdog', 'watchdog/main.ts', 'hub/base/clock.ts'],
    ['assembly', 'hub/hub.ts', 'watchdog/main.ts'],
    ['images', 'images/echo/main.ts', 'hub/client/cli.ts'],
    ['images', 'images/echo/main.ts', 'hub/work/registry.ts'],
    ['assembly', 'hub/main.ts', 'images/echo/main.ts'],
    ['assembly', 'hub/main.ts', 'scripts/check.ts'],
    ['base', 'hub/base/loop.ts', 'test/support/clock.ts'],
  ]
  it.each(outward)('refuses that %s imports outward: %s -> %s [watch-24]', (ring, from, to) => {
    const up = '../'.repeat(from.split('/').length - 1)
    expect(judge({ [from]: `import x from '${up}${to}'`, [to]: '' })).toEqual([
      expect.stringMatching(new RegExp(`^${from}:1 imports ${to}: ${ring} may not import `)),
    ])
  })

  it.each([
    "import { x } from '../guard/gate.ts'",
    "import type { X } from '../guard/gate.ts'",
    "export * from '../guard/gate.ts'",
    'import "../guard/gate.ts"',
    "const x = await import('../guard/gate.ts')",
    "type X = import('../guard/gate.ts').X",
    "import {\n  x, // from here\n} from /* there */ '../guard/gate.ts'",
  ])('reads the import in %s', (text) => {
    expect(judge({ 'hub/base/loop.ts': text, 'hub/guard/gate.ts': '' })).toHaveLength(1)
  })

  it('S1-33: keeps every library of metrics, traces and logs to its one place', () => {
    const found = (from: string, text: string) => judge({ [from]: text })
    for (const text of [
      "import { Registry } from 'prom-client'",
      "import type { Gauge } from 'prom-client'",
      "const api = await import('@opentelemetry/api')",
      "import { pino } from 'pino'",
    ])
      for (const from of ['hub/work/registry.ts', 'hub/edge/serve.ts', 'hub/guard/gate.ts', 'hub/hub.ts'])
        expect(found(from, text), `${from} ${text}`).toEqual([expect.stringMatching(/, which only hub\/.* knows; /)])
    expect(found('hub/observe/metrics.ts', "const client = await import('prom-client')")).toEqual([])
    expect(found('hub/base/telemetry.ts', "import { pino } from 'pino'")).toEqual([])
    expect(found('hub/base/clock.ts', "import { pino } from 'pino'")).toHaveLength(1)
  })

  it('takes no import from a comment, a string or a method named from', () => {
    const text =
      "// import '../guard/gate.ts'\nconst s = \"import x from '../guard/gate.ts'\"\nBuffer.from('../guard/gate.ts')"
    expect(readImports('hub/base/loop.ts', text)).toEqual([])
  })

  it('refuses an import it cannot read', () => {
    expect(judge({ 'hub/base/loop.ts': 'await import(name)' })).toEqual([expect.stringContaining('run time')])
    expect(judge({ 'hub/base/loop.ts': 'await import(`./$' + '{name}.ts`)' })).toEqual([
      expect.stringContaining('run time'),
    ])
    expect(judge({ 'hub/base/loop.ts': "import { createRequire } from 'node:module'" })).toEqual([
      expect.stringContaining('run time'),
    ])
    expect(judge({ 'hub/base/loop.ts': "import '/etc/loop.ts'" })).toEqual([expect.stringContaining('relative')])
  })

  it('keeps the page to its own folder: no ring, no package, and nothing imports it', () => {
    expect(
      judge({
        'hub/client/console/view.js': "import { h } from './preact.js'\nimport './words.js'",
        'hub/client/console/words.js': '',
      }),
    ).toEqual([])
    expect(judge({ 'hub/client/console/view.js': "import '../cli.ts'", 'hub/client/cli.ts': '' })).toHaveLength(1)
    expect(judge({ 'hub/client/console/view.js': "import { h } from 'preact'" })).toHaveLength(1)
    expect(judge({ 'hub/client/console/view.js': "import { readFileSync } from 'node:fs'" })).toHaveLength(1)
    expect(
      judge({ 'hub/client/cli.ts': "import './console/words.js'", 'hub/client/console/words.js': '' }),
    ).toHaveLength(1)
  })

  it('refuses an import of a file that is not there', () => {
    expect(judge({ 'hub/base/loop.ts': "import './lop.ts'" })).toEqual([expect.stringContaining('does not exist')])
  })

  it('finds a circle of files inside one ring, made of types only too', () => {
    expect(
      judge({
        'hub/work/a.ts': "import type { B } from './b.ts'",
        'hub/work/b.ts': "import './c.ts'",
        'hub/work/c.ts': "export { a } from './a.ts'",
      }),
    ).toEqual(['files import each other in a circle: hub/work/a.ts -> hub/work/b.ts -> hub/work/c.ts -> hub/work/a.ts'])
  })

  it('finds a circle of folders that is no circle of files', () => {
    expect(
      judge({
        'hub/work/dispatch/tasks.ts': "import '../messages/router.ts'",
        'hub/work/messages/router.ts': '',
        'hub/work/messages/quotas.ts': "import '../dispatch/supervisor.ts'",
        'hub/work/dispatch/supervisor.ts': '',
      }),
    ).toEqual([
      'folders import each other in a circle: hub/work/dispatch -> hub/work/messages -> hub/work/dispatch, closed by hub/work/messages/quotas.ts -> hub/work/dispatch/supervisor.ts',
    ])
  })

  it('finds a package that images do not carry, behind the SDK too, unless only its types are used', () => {
    const tree = {
      'images/echo/main.ts': "import '../../hub/client/agent.ts'",
      'hub/client/agent.ts': "import { frame } from '../protocol/frame.ts'",
      'hub/protocol/frame.ts': "import { z } from 'zod'",
    }
    expect(judge(tree)).toEqual([expect.stringContaining('hub/protocol/frame.ts:1 loads zod')])
    expect(judge({ ...tree, 'hub/client/agent.ts': "import type { Frame } from '../protocol/frame.ts'" })).toEqual([])
  })

  it('finds an import of node:http, which brings undici along, but not of its types', () => {
    const judged = (path: string, text: string) => judge({ [path]: text })
    const found = [expect.stringContaining('node-http.ts')]
    expect(judged('hub/edge/x.ts', "import { type Server, createServer } from 'node:http'")).toEqual(found)
    expect(judged('watchdog/x.ts', "import http from 'node:http'")).toEqual(found)
    expect(judged('watchdog/x.ts', "await import('node:http')")).toEqual(found)
    expect(judged('watchdog/x.ts', "import type { Server } from 'node:http'")).toEqual([])
    expect(judged('hub/client/agent/x.ts', "import { request } from 'node:http'")).toEqual(found)
    expect(judged('images/x.ts', "import { request } from 'node:http'")).toEqual([])
    expect(judged('hub/base/x.ts', "process.getBuiltinModule('node:http')")).toEqual([])
    expect(judged('hub/base/x.ts', 'process.getBuiltinModule(name)')).toEqual([expect.stringContaining('run time')])
  })

  it('keeps the rooms of the watchdog in their order, and the judge to judging', () => {
    const judged = (from: string, to: string) =>
      judge({ [from]: `import type { X } from '../${to.replace('watchdog/', '')}'`, [to]: '' })
    expect(judged('watchdog/judge/judge.ts', 'watchdog/base/clock.ts')).toEqual([])
    expect(judged('watchdog/door/door.ts', 'watchdog/judge/state.ts')).toEqual([])
    for (const to of ['observe/engine.ts', 'act/act.ts', 'tell/alerts.ts', 'watch/watch.ts', 'door/door.ts', 'main.ts'])
      expect(judged('watchdog/judge/judge.ts', `watchdog/${to}`), to).toHaveLength(1)
    for (const from of ['base/home.ts', 'config/config.ts', 'observe/engine.ts', 'act/act.ts', 'tell/alerts.ts'])
      expect(judged(`watchdog/${from}`, 'watchdog/watch/watch.ts'), from).toHaveLength(1)
    expect(judged('watchdog/elsewhere/x.ts', 'watchdog/door/door.ts')).toEqual([])
    expect(judged('watchdog/door/door.ts', 'watchdog/elsewhere/x.ts')).toHaveLength(1)
    for (const from of ['node:fs', 'node:child_process', 'pino'])
      expect(judge({ 'watchdog/judge/judge.ts': `import { x } from '${from}'` }), from).toHaveLength(1)
    expect(judge({ 'watchdog/judge/witness.ts': "import { verify } from 'node:crypto'" })).toEqual([])
  })

  it('finds a package the watchdog does without [watch-25]', () => {
    expect(judge({ 'watchdog/observe/engine.ts': "import Docker from 'dockerode'" })).toEqual([
      expect.stringContaining('does without'),
    ])
  })
})
