/** Something that takes several waits and can be interrupted in each of them. */
export interface Task {
  /** `begin` starts what is waited for and answers how to give it up. Undefined: it was interrupted, now or before. */
  wait<T>(begin: (resolve: (value: T) => void) => () => void): Promise<T | undefined>;
  interrupt(): void;
}

export function createTask(): Task {
  let over = false;
  let cancel: (() => void) | undefined;
  return {
    wait<T>(begin: (resolve: (value: T) => void) => () => void): Promise<T | undefined> {
      if (over) return Promise.resolve(undefined);
      return new Promise((resolve) => {
        let done = false;
        const finish = (value: T | undefined): void => {
          done = true;
          cancel = undefined;
          resolve(value);
        };
        const giveUp = begin(finish);
        if (done) return;
        cancel = () => {
          finish(undefined);
          giveUp();
        };
      });
    },
    interrupt() {
      over = true;
      cancel?.();
    },
  };
}
