//! Carrying out what was decided.

use cohort_host::init::ToInit;
use cohort_model::{
    Allotment, Command, InstanceId, KillReason, Observation, Specialty, ThreadId, Verdict,
};
use cohort_workload::pytest::protocol::ToPython;

use crate::Error;
use crate::closing;
use crate::discover::Runner;
use crate::instance::Instance;
use crate::python::{State, Task, WORKER_THREAD};
use crate::shell::Hub;
use crate::stood::order_end;
use crate::threads::{Thread, order_kill, order_start, unjudged};
use cohort_host::chain;

impl Hub {
    pub(crate) async fn carry_out(&mut self, command: &Command) -> Result<(), Error> {
        match *command {
            Command::OpenInstance {
                instance,
                allotment,
                specialty,
            } => self.open(instance, &allotment, specialty).await?,
            Command::Specialize {
                instance,
                allotment,
                ..
            } => {
                if let Some(instance) = self.instances.get_mut(&instance) {
                    instance.set(&allotment)?;
                }
            }
            Command::CloseInstance { instance } => self.close(instance).await?,
            Command::StartThread {
                thread,
                test,
                instance,
            } => self.start(Task { thread, test }, instance).await?,
            Command::KillThread { thread, why } => self.kill(thread, why).await?,
            Command::HandOverThread {
                thread,
                source,
                target,
            } => self.hand_over(thread, source, target).await?,
            Command::TryCase {
                thread,
                case,
                test,
                instance,
                ref recipe,
                ref batch,
                limit_us,
            } => {
                let task = Task { thread, test };
                let what = (recipe, batch.as_ref(), limit_us);
                self.try_case(task, case, instance, what).await?;
            }
            Command::Instrument {
                thread,
                test,
                instance,
                jobs,
                ..
            } => {
                let task = Task { thread, test };
                self.instrument(task, instance, jobs).await?;
            }
            Command::Conclude(_) | Command::Finish => {}
        }
        Ok(())
    }

    async fn open(
        &mut self,
        id: InstanceId,
        allotment: &Allotment,
        specialty: Specialty,
    ) -> Result<(), Error> {
        if let Some(mut spare) = self.spares.remove(&id) {
            spare.set(allotment)?;
            let (made, ready) = (spare.is_made(), spare.ready);
            self.instances.insert(id, spare);
            if ready {
                self.ready(id);
            } else if made {
                self.made(id).await?;
            }
            return Ok(());
        }
        let processes = matches!(self.runner, Runner::Processes(_));
        let forks = matches!(&self.runner, Runner::Python(python) if python.forks);
        // What tries an edge case is a process of its own also where workers are forked.
        let init = processes || !forks || specialty == Specialty::Reproducing;
        match self.ground.open(id, allotment, init) {
            Ok(instance) => {
                self.instances.insert(id, instance);
            }
            Err(error) => self.seen.push(Observation::InstanceLost {
                instance: id,
                reason: chain(&error),
            }),
        }
        Ok(())
    }

    /// An init is where it belongs.
    pub(crate) fn ready(&mut self, id: InstanceId) {
        if let Some(spare) = self.spares.get_mut(&id) {
            spare.ready = true;
        } else if self.instances.contains_key(&id) {
            self.watch(id, None);
            self.seen.push(Observation::InstanceOpened { instance: id });
        }
    }

    /// An instance was made, or could not be.
    pub(crate) async fn made(&mut self, id: InstanceId) -> Result<(), Error> {
        if let Some(spare) = self.spares.get_mut(&id) {
            // What fails of a spare shows when it is asked for.
            let _ = self.ground.enter(id, spare).await;
            return Ok(());
        }
        let Some(instance) = self.instances.get_mut(&id) else {
            return Ok(());
        };
        if let Err(error) = self.ground.enter(id, instance).await {
            self.open_failed(id, &chain(&error));
            return Ok(());
        }
        let later = instance.catch_up().await?;
        // An init is watched, and said to be there, once it is where it belongs.
        if !instance.has_init() {
            self.watch(id, None);
            self.seen.push(Observation::InstanceOpened { instance: id });
        }
        if let Some((thread, source)) = later.arrival {
            self.hand_over(thread, source, id).await?;
        }
        if let Some(task) = later.task {
            self.start_in_worker(task, id).await?;
        }
        Ok(())
    }

    /// An instance could not be opened: what was to run there never ran.
    pub(crate) fn open_failed(&mut self, id: InstanceId, why: &str) {
        if let Some(spare) = self.spares.remove(&id) {
            self.closing.push(spare.close(id));
        }
        let Some(instance) = self.instances.remove(&id) else {
            return;
        };
        self.closing.push(instance.close(id));
        for thread in self.threads_at_home(id) {
            self.threads.remove(&thread);
            let message = format!("{id} could not be opened: {why}");
            self.end_thread(id, unjudged(thread, Verdict::Aborted, message));
        }
        self.seen.push(Observation::InstanceLost {
            instance: id,
            reason: why.to_owned(),
        });
    }

    async fn close(&mut self, id: InstanceId) -> Result<(), Error> {
        if let Some(collector) = &self.collector {
            collector.unwatch(id);
        }
        let mut ending = None;
        if let Runner::Python(python) = &mut self.runner
            && let Some((number, worker)) = python.worker_of(id)
        {
            let connection = worker.connection;
            ending = worker.pid.filter(|_| !self.ground.isolation.pid);
            python.workers.remove(&number);
            if let Some(connection) = connection {
                python.behind.remove(&connection);
                python.tell(connection, &ToPython::Finish {}).await?;
            }
        }
        if let Some(instance) = self.instances.remove(&id) {
            self.closing.push(match ending {
                Some(pid) => tokio::spawn(closing::close_after(pid, instance, id)),
                None => instance.close(id),
            });
        }
        Ok(())
    }

    async fn start(&mut self, task: Task, id: InstanceId) -> Result<(), Error> {
        let Some(instance) = self.instances.get_mut(&id) else {
            let message = format!("{id} could not be opened");
            let end = unjudged(task.thread, Verdict::Aborted, message);
            self.end_thread(id, end);
            return Ok(());
        };
        let thread = Thread::begun(task.test, id, instance);
        self.threads.insert(task.thread, thread);
        match &mut self.runner {
            Runner::Processes(launches) => {
                let launch = launches.launch(task.test);
                let nice = self.ground.nice(instance.allotment());
                let order = order_start(task.thread, launch, (&instance.scratch, nice));
                instance.tell(&order).await
            }
            Runner::Python(_) => self.start_in_worker(task, id).await,
        }
    }

    async fn start_in_worker(&mut self, task: Task, id: InstanceId) -> Result<(), Error> {
        let (Runner::Python(python), Some(instance)) =
            (&mut self.runner, self.instances.get_mut(&id))
        else {
            return Ok(());
        };
        if let Some(later) = instance.later() {
            later.task = Some(task);
            return Ok(());
        }
        let now = python
            .worker_of(id)
            .map(|(number, worker)| (number, worker.state));
        match now {
            Some((number, State::Asked(old))) => python.say_next(number, old, Some(task)).await,
            Some((number, State::Idle)) => {
                python.run(number, task).await?;
                self.seen.push(Observation::ThreadStarted {
                    thread: task.thread,
                });
                Ok(())
            }
            Some((number, State::Cleaning(old, None))) => {
                if let Some(worker) = python.workers.get_mut(&number) {
                    worker.state = State::Cleaning(old, Some(task));
                }
                Ok(())
            }
            _ => {
                if let Some((number, _)) = now {
                    // It is ending: nobody waits for it any more.
                    python.workers.remove(&number);
                }
                let number = python.add(id, &instance.scratch, task);
                if python.forks {
                    let order = python.fork(number, &instance.scratch, instance.procs_files());
                    let Some(collector) = python.collector else {
                        return Ok(());
                    };
                    python.tell(collector, &order).await
                } else {
                    let launch = python.anew(number, &instance.scratch);
                    let nice = self.ground.nice(instance.allotment());
                    let place = (instance.scratch.as_path(), nice);
                    let order = order_start(ThreadId(WORKER_THREAD), launch, place);
                    instance.tell(&order).await
                }
            }
        }
    }

    async fn kill(&mut self, thread: ThreadId, why: KillReason) -> Result<(), Error> {
        let Some(running) = self.threads.get_mut(&thread) else {
            return Ok(());
        };
        running.killed = Some(why);
        let (home, place) = (running.home, running.place);
        if let Some(attempt) = &running.attempt {
            let order = order_end(thread, why, attempt.stacks);
            if let Some(instance) = self.instances.get_mut(&home) {
                instance.tell(&order).await?;
            }
            return Ok(());
        }
        if self.forget_start(thread, home) {
            return Ok(());
        }
        match &mut self.runner {
            Runner::Processes(_) => {
                if let Some(instance) = self.instances.get_mut(&home) {
                    instance.tell(&order_kill(thread, why)).await?;
                }
            }
            Runner::Python(python) => {
                let worker = python.worker_with(thread);
                let (pid, begun) = worker.map_or((None, true), |(_, worker)| {
                    let begun = worker.tasks().0.is_some_and(|task| task.thread == thread);
                    (worker.pid, begun)
                });
                let starting = pid.is_none();
                if let Some(instance) = self.instances.get(&place)
                    && (begun || starting || why == KillReason::Interrupted)
                {
                    instance.kill_inside(pid);
                }
            }
        }
        Ok(())
    }

    /// A test that waits for its instance to begin in a worker is taken back.
    fn forget_start(&mut self, thread: ThreadId, home: InstanceId) -> bool {
        let later = self.instances.get_mut(&home).and_then(Instance::later);
        let taken = later.and_then(|later| later.task.take_if(|task| task.thread == thread));
        if taken.is_some() {
            self.threads.remove(&thread);
            let message = "killed before it began".to_owned();
            self.end_thread(home, unjudged(thread, Verdict::Aborted, message));
        }
        taken.is_some()
    }

    async fn hand_over(
        &mut self,
        thread: ThreadId,
        source: InstanceId,
        target: InstanceId,
    ) -> Result<(), Error> {
        if let Some(later) = self.instances.get_mut(&target).and_then(Instance::later) {
            later.arrival = Some((thread, source));
            return Ok(());
        }
        let (Some(from), Some(to)) = (self.instances.get(&source), self.instances.get(&target))
        else {
            return Ok(());
        };
        if self.ground.isolation.pid || !self.threads.contains_key(&thread) {
            // The inner init cannot be told from the thread's processes from out here.
            return Ok(());
        }
        from.move_to(to)?;
        let spare = to.own_pids();
        let procs_file = to.procs_files().last().cloned();
        let waited_us = self.instances.get_mut(&source).map(Instance::cpu_waited_us);
        let hits = self.instances.get_mut(&target).map(Instance::hits);
        let home = self.threads.get_mut(&thread).map(|running| {
            running.place = target;
            let before = running.hits.cpu_waited_us;
            running.cpu_waited_us += waited_us.unwrap_or(before).saturating_sub(before);
            running.hits = hits.unwrap_or_default();
            running.home
        });
        if let (Some(home), Some(procs_file)) = (home, procs_file)
            && let Some(instance) = self.instances.get_mut(&home)
        {
            let order = ToInit::Moved {
                thread: thread.0,
                procs_file,
                spare,
            };
            instance.tell(&order).await?;
        }
        self.seen.push(Observation::ThreadMoved { thread, target });
        Ok(())
    }
}
