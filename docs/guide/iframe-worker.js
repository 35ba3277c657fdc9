// From disk a browser starts no worker, and the search is one: there a hidden frame stands for it.
if (location.protocol === "file:")
  window.Worker = class extends EventTarget {
    onmessage = null;
    #frame = document.createElement("iframe");
    #loaded;

    constructor(address) {
      super();
      this.#frame.hidden = true;
      document.body.append(this.#frame);
      const inside = this.#frame.contentWindow;
      inside.postMessage = (value) => {
        const data = structuredClone(value);
        setTimeout(() => this.#tell(new MessageEvent("message", { data })));
      };
      const script = inside.document.createElement("script");
      script.src = new URL(address, location);
      this.#loaded = new Promise((resolve) => script.addEventListener("load", resolve));
      script.addEventListener("error", () => this.#tell(new ErrorEvent("error")));
      inside.document.body.append(script);
    }

    async postMessage(value) {
      const data = structuredClone(value);
      await this.#loaded;
      const inside = this.#frame.contentWindow;
      inside?.dispatchEvent(new inside.MessageEvent("message", { data }));
    }

    terminate() {
      this.#frame.remove();
    }

    #tell(event) {
      this[`on${event.type}`]?.(event);
      this.dispatchEvent(event);
    }
  };
