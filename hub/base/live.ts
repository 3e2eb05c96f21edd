/** Settings that may change while the hub runs: each is looked up when it is read. A copy (a spread, a destructured name) keeps the value of its moment. */

/** An object whose every key is looked up in `now()` when it is read. It cannot be written to. */
export function viewOf<Settings extends object>(now: () => Settings): Settings {
  return new Proxy({} as Settings, {
    get: (_, key) => Reflect.get(now(), key) as unknown,
    has: (_, key) => Reflect.has(now(), key),
    ownKeys: () => Reflect.ownKeys(now()),
    getOwnPropertyDescriptor(_, key) {
      const found = Reflect.getOwnPropertyDescriptor(now(), key)
      return found === undefined ? undefined : { ...found, configurable: true }
    },
    set: () => false,
  })
}

/** Both in one object. What `live` looks up when it is read, the result does too; a spread would not. */
export const joined = <Fixed extends object, Live extends object>(fixed: Fixed, live: Live): Fixed & Live =>
  Object.defineProperties({ ...fixed }, Object.getOwnPropertyDescriptors(live)) as Fixed & Live
