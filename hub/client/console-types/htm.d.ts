/** The package, as the page is served it beside its own files. What a template holds is not checked; what its views read is. */
declare const htm: { bind(h: unknown): (strings: TemplateStringsArray, ...values: readonly unknown[]) => unknown }
export default htm
