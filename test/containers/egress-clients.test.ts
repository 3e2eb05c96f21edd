/** git and npm themselves, in a real container: what they fetch and push through the hub, and that they show why something does not pass. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { clientsImage, startForge } from '../support/clients-home.ts'
import { type ContainerHome, openContainerHome, resultOf } from '../support/container-home.ts'
import { load } from '../support/spy-image.ts'

const KEY = 'canary-4kq8wz3nvt0ymc7rx'
let home: ContainerHome
let forge: Awaited<ReturnType<typeof startForge>>

beforeAll(async () => {
  await load([clientsImage()])
  forge = await startForge()
  home = await openContainerHome({
    cards: [
      {
        ...{ name: 'coder', description: 'git and npm', image: 'hub-test/clients', driver: 'command', shell: true },
        run: ['sh', '-c', '{param:script}'],
        limits: { ttl: '5m', memory: '512MiB' },
        may: { egress: ['npm', 'forge:read', 'forge:write'] },
      },
    ],
    config: {
      upstreams: {
        npm: { kind: 'npm', url: `${forge.url}/npm`, local: true },
        forge: {
          ...{ kind: 'git', url: `${forge.url}/git`, local: true, secret: 'forge-token' },
          ...{ repositories: ['me/*'], push: ['hub/*'], workflows: ['hub/ci'] },
        },
      },
    },
  })
  mkdirSync(join(home.home, 'secrets'), { recursive: true, mode: 0o700 })
  writeFileSync(join(home.home, 'secrets', 'forge-token'), KEY, { mode: 0o600 })
})
afterAll(async () => {
  await home?.close()
  forge?.close()
})

/** Each step says its name and its exit code; what it printed stands between. */
const SCRIPT = `
export HOME=/tmp/home LANG=C GIT_TERMINAL_PROMPT=0
export npm_config_registry=$HUB_EGRESS_NPM/ npm_config_audit=false npm_config_fund=false npm_config_update_notifier=false npm_config_fetch_retries=0 npm_config_loglevel=error
mkdir -p $HOME /tmp/app && cd /tmp/app
step() { name=$1; shift; echo "[$name"; "$@" 2>&1; echo "$name $?]"; }
echo '{"name":"app","version":"1.0.0"}' > package.json
step install npm install --cache=/tmp/npm-one one
rm -rf node_modules
step again npm ci --cache=/tmp/npm-two
step require node -p "require('one')"
sed "s,http://127.0.0.1:47080/up/npm/two,https://elsewhere.example.org/two," package-lock.json > lock && mv lock package-lock.json
step elsewhere npm ci --cache=/tmp/npm-three
git config --global user.name coder && git config --global user.email coder@example.org && git config --global pack.depth 0
cd /tmp
step clone git clone -q $HUB_EGRESS_FORGE/me/tool.git
cd tool
echo more >> README.md && git commit -qam second
step push git push -q origin HEAD:hub/x
step main git push -q origin HEAD:main
git commit -q --amend -m other
step forced git push -q --force origin HEAD:hub/x
step deletion git push -q origin :hub/x
mkdir -p .github/workflows && echo 'on: push' > .github/workflows/ci.yml && git add -A && git commit -qm workflow
step workflow git push -q origin HEAD:hub/y
step listed git push -q origin HEAD:hub/ci
step lfs node -e "fetch(process.env.HUB_EGRESS_FORGE+'/me/tool.git/info/lfs/objects/batch',{method:'POST'}).then(async a=>console.log(a.status,await a.text()))"
step other git clone -q $HUB_EGRESS_FORGE/you/tool.git
`

test('npm installs and git pushes through the hub; what does not pass is refused in words that they show', async () => {
  const { stdout } = resultOf<{ stdout: string }>(await home.run('coder', { script: SCRIPT }))
  /** Exit code and words of a step. */
  const step = (name: string) => {
    const [, words = stdout, code] = new RegExp(`\\[${name}\\n([^]*?)${name} (\\d+)\\]`).exec(stdout) ?? []
    return { code: Number(code), words }
  }
  for (const name of ['install', 'again', 'clone', 'push', 'listed'])
    expect(step(name), name).toMatchObject({ code: 0 })
  expect(step('require')).toEqual({ code: 0, words: 'one and two\n' })
  const refused: [string, RegExp][] = [
    ['elsewhere', /elsewhere\.example\.org/],
    ['main', /egress_denied: the branch main is not listed: push to one of hub\/\*/],
    ['forced', /egress_denied: the branch hub\/x would lose commits \(a forced update\)/],
    ['deletion', /egress_denied: the branch hub\/x would be deleted/],
    ['workflow', /egress_denied: .*workflows.*add hub\/y to upstreams\.forge\.workflows in hub\.yaml/],
  ]
  for (const [name, words] of refused) {
    expect(step(name).words, name).toMatch(words)
    expect(step(name).code, name).not.toBe(0)
  }
  expect(step('lfs').words).toMatch(/^403 egress_denied: .*LFS is not passed/)
  expect(step('other').code).not.toBe(0)
  expect(stdout).not.toContain(KEY)

  expect(forge.branches()).toEqual(['hub/ci workflow', 'hub/x second', 'main first'])
  // The second install had no cache of its own: its archives came from the hub.
  for (const name of ['one', 'two'])
    expect(forge.came.filter((line) => line === `GET /npm/${name}/-/${name}-1.0.0.tgz no key`)).toHaveLength(1)
  expect(forge.came.filter((line) => line.includes('/git/') && line.endsWith('no key'))).toEqual([])
  const settled = await home.json<{ action: string; effect: string }[]>('audit', 'list', '--limit', '100')
  const effects = settled.filter(({ action }) => action === 'egress.settled').map(({ effect }) => effect)
  expect(effects.some((effect) => /^npm read GET 200;.*cached/.test(effect))).toBe(true)
})
