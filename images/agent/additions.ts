/** What only an image holds whose card asks for it: a layer of its own (images/README.md, "Additions"). */

/** Loads it by the `import()` that `load` makes. Throws with what to do where the image was built before its card asked. */
export async function loadAddition<Loaded>(name: string, load: () => Promise<Loaded>): Promise<Loaded> {
  try {
    return await load()
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw thrown
    throw new Error(
      `the card asks for ${name}, and this image does not hold it; build it again: hub agent build, for a shipped one node scripts/build-images.ts`,
    )
  }
}
