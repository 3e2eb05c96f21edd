/** Of which environment hub and watchdog are started (fault F20), and what makes a start worth doing again (faults F15, F20). */
import { describe, expect, it, test } from 'vitest'
import { droppedOf, namedIn, passedOn } from '../../../hub/base/passed-on.ts'
import * as ofHub from '../../../hub/base/start-clean.ts'
import { environmentOf } from '../../../hub/client/cli/processes.ts'
import * as ofWatchdog from '../../../watchdog/base/start-clean.ts'

const GIVEN = {
  ...{ PATH: '/bin', HOME: '/root', LANG: 'C', LC_ALL: 'C', TZ: 'UTC', HUB_HOME: '/h', NODE_COMPILE_CACHE: '/c' },
  ...{ NODE_TLS_REJECT_UNAUTHORIZED: '0', NODE_OPTIONS: '--inspect', LD_PRELOAD: '/x.so', https_proxy: 'http://x' },
  ...{ SSH_AUTH_SOCK: '/s', EDITOR: 'vi', SMTP_PASSWORD: 'p', HUB_SECRET_A: 's' },
}

describe('an environment passed on', () => {
  it('is a list: the rest is gone, and what would have weakened the process is told by name', () => {
    const { HUB_NOT_PASSED_ON: told, ...given } = passedOn(GIVEN)
    expect(Object.keys(given).sort()).toEqual(
      [...['HOME', 'HUB_HOME', 'HUB_SECRET_A', 'LANG', 'LC_ALL'], ...['NODE_COMPILE_CACHE', 'PATH', 'TZ']].sort(),
    )
    expect(told).toBe('LD_PRELOAD,NODE_OPTIONS,NODE_TLS_REJECT_UNAUTHORIZED,https_proxy')
  })

  it('keeps what a configuration names, and of that nothing that weakens', () => {
    const named = namedIn('{"passwordEnv": "SMTP_PASSWORD", "passEnv": ["NODE_OPTIONS", "LD_PRELOAD"], "port": 1}')
    expect([...named]).toEqual(['SMTP_PASSWORD'])
    expect(passedOn(GIVEN, named)).toMatchObject({ SMTP_PASSWORD: 'p' })
    expect(passedOn(GIVEN, named)).not.toHaveProperty('NODE_OPTIONS')
  })

  it('of the watchdog holds no secret of an agent', () => {
    expect(environmentOf('watchdog', '/none', GIVEN)).not.toHaveProperty('HUB_SECRET_A')
    expect(environmentOf('hub', '/none', GIVEN)).toHaveProperty('HUB_SECRET_A', 's')
  })

  it('goes on telling what was left out before, in names alone', () => {
    const before = { HUB_NOT_PASSED_ON: 'NODE_OPTIONS,\x1b[31m,LD_PRELOAD' }
    expect(droppedOf(before)).toEqual(['NODE_OPTIONS', 'LD_PRELOAD'])
    expect(passedOn({ ...before, NODE_PATH: '/x' })).toEqual({ HUB_NOT_PASSED_ON: 'LD_PRELOAD,NODE_OPTIONS,NODE_PATH' })
  })
})

const limits = (core: string) =>
  `Limit  Soft Limit  Hard Limit  Units\nMax core file size        ${core}    unlimited   bytes\n`
test.each([
  ['nothing of it', { PATH: '/bin', NODE_COMPILE_CACHE: '/c', NODE_ENV: 'test' }, '0', undefined],
  ['a switch of Node', { NODE_OPTIONS: '--inspect' }, '0', { names: ['NODE_OPTIONS'], dumpsCore: false }],
  [
    'other roots of trust',
    { SSL_CERT_FILE: '/x', OPENSSL_CONF: '/y' },
    '0',
    { names: ['SSL_CERT_FILE', 'OPENSSL_CONF'] },
  ],
  ['core dumps', {}, 'unlimited', { names: [], dumpsCore: true }],
  ['core dumps of a size', {}, '4096', { names: [], dumpsCore: true }],
  ['no word of limits', {}, undefined, undefined],
])('%s is judged alike for hub and watchdog', (_, env, core, expected) => {
  const text = core === undefined ? '' : limits(core)
  for (const { faultsOfStart } of [ofHub, ofWatchdog]) {
    if (expected === undefined) expect(faultsOfStart(env, text, 7)).toBeUndefined()
    else expect(faultsOfStart(env, text, 7)).toMatchObject(expected)
    const marked = (by: string) => ({ ...env, HUB_STARTED_CLEAN: by, HUB_WATCHDOG_STARTED_CLEAN: by })
    expect(faultsOfStart(marked('7'), text, 7), 'a second time').toBeUndefined()
    // Whoever sets the mark beforehand does not know the process id.
    for (const by of ['1', '70', ''])
      expect(faultsOfStart(marked(by), text, 7) === undefined, `marked by ${by}`).toBe(expected === undefined)
  }
})
