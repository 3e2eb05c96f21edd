/** What the profile must know of the host, read once at start. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { HubError } from '../../base/errors.ts'
import type { HostFacts } from './profile.ts'

/** A seccomp profile on one line: the engine keeps and shows the text as it was sent. */
function readProfile(seccompPath: string): string {
  let profile: { defaultAction?: unknown }
  try {
    profile = JSON.parse(readFileSync(seccompPath, 'utf8')) as { defaultAction?: unknown }
  } catch (error) {
    throw new HubError('config_invalid', `the seccomp profile ${seccompPath} cannot be read; restore it`, {
      cause: error,
    })
  }
  if (profile?.defaultAction !== 'SCMP_ACT_ERRNO') {
    throw new HubError('config_invalid', `the seccomp profile ${seccompPath} must deny by default (SCMP_ACT_ERRNO)`)
  }
  return JSON.stringify(profile)
}

/**
 * Reads the host's facts. `folder` holds the two seccomp profiles, for sessions without and with egress. Throws `config_invalid` if one of them
 * is missing, is not JSON, or does not deny by default.
 */
export function readHostFacts(folder: string, sysPath = '/sys'): HostFacts {
  const seccomp = readProfile(join(folder, 'seccomp.json'))
  const seccompEgress = readProfile(join(folder, 'seccomp-egress.json'))
  const cpus = join(sysPath, 'devices/system/cpu')
  const names = existsSync(cpus) ? readdirSync(cpus) : []
  const numbers = names.flatMap((name) => {
    const number = /^cpu(\d+)$/.exec(name)?.[1]
    return number !== undefined && existsSync(join(cpus, name, 'thermal_throttle')) ? [Number(number)] : []
  })
  return {
    cpusWithThermalThrottle: numbers.sort((a, b) => a - b),
    appArmor: readFlag(join(sysPath, 'module/apparmor/parameters/enabled')) === 'Y',
    seccomp,
    seccompEgress,
  }
}

function readFlag(path: string): string {
  return existsSync(path) ? readFileSync(path, 'utf8').trim() : ''
}
