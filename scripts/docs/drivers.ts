/** The page about the drivers: how programs are run, and what each way can do. */
import { canDo, DRIVER_NAMES, DRIVERS, FEATURES, type Feature } from '../../hub/protocol/drivers.ts'
import { code, page, table } from './markdown.ts'

const NAMES = Object.keys(FEATURES) as Feature[]

export const driversPage = (): string =>
  page(
    'Drivers',
    '`hub/protocol/drivers.ts`',
    'A card names one as its `driver`. `hub agent drivers` prints this table. What a program finds, and how its run ends: `docs/protocol.md` 10.',
    table(
      ['Driver', 'Runs the program', ...NAMES],
      DRIVER_NAMES.map((name) => [
        code(name),
        DRIVERS[name].how,
        ...NAMES.map((feature) => (canDo(name, feature) ? 'yes' : 'no')),
      ]),
    ),
    table(
      ['Feature', 'Meaning'],
      NAMES.map((feature) => [code(feature), FEATURES[feature]]),
    ),
  )
