// How JupyterLab finds us: a container as its module federation makes them, written by hand around one bundle.
// `init` is given what Lab shares; `get` waits for the parts we use and gives the bundle's exports.
var _JUPYTERLAB;
(_JUPYTERLAB = typeof _JUPYTERLAB === 'undefined' ? {} : _JUPYTERLAB)['dure-lab'] = (() => {
  const needs = /*NEEDS*/ [];
  const bundle = (module, exports, require) => {
    /*BUNDLE*/
  };
  let scope;
  let made;

  /** The highest version of a shared module, by its numbers. */
  const newest = versions => {
    const numbers = version => version.split(/[.+-]/).slice(0, 3).map(Number);
    return Object.keys(versions).sort((one, other) => {
      const [a, b] = [numbers(one), numbers(other)];
      return b[0] - a[0] || b[1] - a[1] || b[2] - a[2];
    })[0];
  };

  const load = async () => {
    const found = {};
    await Promise.all(
      needs.map(async name => {
        const versions = scope[name];
        if (!versions) {
          throw new Error(`dure-lab: this JupyterLab does not share ${name}`);
        }
        found[name] = (await versions[newest(versions)].get())();
      })
    );
    const module = { exports: {} };
    bundle(module, module.exports, name => found[name]);
    return module.exports;
  };

  return {
    init: shared => {
      scope = shared;
    },
    get: async name => {
      if (name === './style') {
        return () => ({}); // it comes with the bundle
      }
      made = made || load();
      const exports = await made;
      return () => exports;
    }
  };
})();
