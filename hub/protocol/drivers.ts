/** How the shim runs an agent's program: the drivers, in one table (docs/protocol.md 10). A name that is not here is refused in the card. */
import { z } from 'zod'

/** What a driver can do, each in words. */
export const FEATURES = {
  waitsForReady: 'the program gets its task only after it said that it is ready',
  ownProcess: 'the program is a process of its own, and is ended when it says nothing',
  takesMessages: 'the program is given the messages of other agents',
  takesWishes:
    'the program is told which model, system prompt, most turns and budget its task asks for, without a place in its card',
  takesPrompts: 'the program is given another prompt while it runs',
  cancelsTurns: 'what the program does can be cancelled while it goes on to live',
  asksPermission: 'the program asks the hub before it uses a tool',
  reportsUsage: 'the result tells the tokens that the program used, by its own count',
  resumes: 'the program goes on with an earlier conversation of its task',
} as const satisfies Record<string, string>

export type Feature = keyof typeof FEATURES

interface Driver {
  /** After "it runs ...". */
  how: string
  features: readonly Feature[]
}

export const DRIVERS = {
  sdk: {
    how: 'in the process of the shim',
    features: ['takesMessages', 'takesWishes', 'takesPrompts', 'cancelsTurns', 'asksPermission'],
  },
  'json-lines': {
    how: 'by lines on standard input and output',
    features: ['ownProcess', 'takesMessages', 'takesWishes', 'takesPrompts', 'cancelsTurns', 'asksPermission'],
  },
  command: { how: 'as an ordinary program', features: ['ownProcess'] },
  'stream-json': {
    how: 'as a coding CLI that prints one JSON event a line',
    features: ['ownProcess', 'reportsUsage', 'resumes'],
  },
  acp: {
    how: 'as a coding agent of the Agent Client Protocol',
    features: ['waitsForReady', 'ownProcess', 'takesPrompts', 'cancelsTurns', 'asksPermission', 'reportsUsage'],
  },
  'acp-v2': {
    how: 'as a coding agent of the draft of version 2 of that protocol, where the flag `drafts` is on',
    features: ['waitsForReady', 'ownProcess', 'takesPrompts', 'cancelsTurns', 'asksPermission'],
  },
  stub: {
    how: 'not at all, and replays a script instead',
    features: ['takesWishes', 'takesPrompts', 'cancelsTurns', 'asksPermission'],
  },
} as const satisfies Record<string, Driver>

export type DriverName = keyof typeof DRIVERS
export const DRIVER_NAMES = Object.keys(DRIVERS) as [DriverName, ...DriverName[]]

export const canDo = (name: DriverName, feature: Feature): boolean =>
  (DRIVERS[name].features as readonly Feature[]).includes(feature)

/** A driver in a card, and wherever one is shown. */
export const driverShape = z.enum(DRIVER_NAMES)

/** All of them for a person: `sdk` in the process of the shim, ... */
export const driversText = DRIVER_NAMES.map((name) => `\`${name}\` ${DRIVERS[name].how}`).join(', ')
