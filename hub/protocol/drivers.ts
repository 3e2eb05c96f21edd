/** How the shim runs an agent's program: the drivers, in one table (docs/protocol.md 10). A name that is not here is refused in the card. */
import { z } from 'zod'

const DRIVERS = {
  sdk: 'in the process of the shim',
  'json-lines': 'by lines on standard input and output',
  command: 'as an ordinary program',
  'stream-json': 'as a coding CLI that prints one JSON event a line',
} as const satisfies Record<string, string>

export type DriverName = keyof typeof DRIVERS

/** A driver in a card, and wherever one is shown. */
export const driverShape = z.enum(Object.keys(DRIVERS) as [DriverName, ...DriverName[]])

/** All of them for a person: `sdk` in the process of the shim, ... */
export const driversText = Object.entries(DRIVERS)
  .map(([name, how]) => `\`${name}\` ${how}`)
  .join(', ')
