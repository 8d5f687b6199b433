//! The tasks of a mesh, and their changes: scaling, other variables, a release.
//!
//! As in ECS, a changed variable makes a new task: it is started beside the old one, and when it
//! takes requests, the old one is drained. Here the new one keeps the old one's name.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use application::{EDGE, Kind, LEAVES, SERVICES, Service};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use parking_lot::Mutex;
use smol::channel::{self, Receiver, Sender};
use smol::future;
use smol::lock::MutexGuard;

use crate::engine::Engine;
use crate::envoy::ProxyProcess;
use crate::event::{Answered, Counted, Event};
use crate::log_line;
use crate::overview::{EnvoyOverview, Overview, ServiceOverview, TaskOverview};
use crate::program::Program;
use crate::registration::Register;
use crate::supervisor::{Process, Starter, closed};
use crate::task::{MAX_TASKS, Task, Traffic, Variables, front_name, not_possible};
use crate::trace::Traces;
use crate::user_program::{UserProgram, UserPrograms};

/// Everything that runs.
pub(crate) struct Orchestrator {
    engine: Engine,
    /// The load balancer's address.
    front: SocketAddr,
    starter: Starter,
    programs: UserPrograms,
    /// With `--trace`.
    traces: Option<Arc<Traces>>,
    tasks: Mutex<BTreeMap<Task, Running>>,
    load_balancer: Mutex<Option<Process>>,
    /// How many requests the tasks that have ended answered.
    answered: Mutex<BTreeMap<Task, u64>>,
    /// Held during a change, so that there is one at a time.
    changing: smol::lock::Mutex<()>,
    /// Closed when the mesh ends, which cancels changes.
    ending: (Sender<()>, Receiver<()>),
}

/// A task that runs.
struct Running {
    variables: Variables,
    traffic: Traffic,
    application: Process,
    sidecar: Option<Process>,
    /// The id of the process that was paused.
    paused: Option<u32>,
}

/// The error of a change that is cancelled by the end of the mesh.
const ENDS: &str = "the mesh ends";

impl Orchestrator {
    /// An orchestrator with no tasks yet.
    pub(crate) fn new(
        engine: Engine,
        front: SocketAddr,
        starter: Starter,
        programs: UserPrograms,
        traces: Option<Arc<Traces>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            engine,
            front,
            starter,
            programs,
            traces,
            tasks: Mutex::default(),
            load_balancer: Mutex::default(),
            answered: Mutex::default(),
            changing: smol::lock::Mutex::new(()),
            ending: channel::bounded(1),
        })
    }

    /// Starts this many tasks of each service, and then the load balancer, which would otherwise find
    /// its targets unhealthy.
    ///
    /// # Errors
    ///
    /// One of them cannot start.
    pub(crate) async fn start(self: &Arc<Self>, tasks: u8) -> Result<(), String> {
        let _changing = self.change().await?;
        self.add(Task::all(tasks), &Variables::default(), Traffic::Production).await?;
        if let Some(envoys) = self.engine.envoys() {
            let ProxyProcess { name, program, register, .. } = envoys.load_balancer();
            let process = self.process(name.clone(), program, register);
            let is_up = process.is_up();
            *self.load_balancer.lock() = Some(process);
            self.is_up(&name, is_up).await?;
        }
        Ok(())
    }

    /// Stops everything: the tasks drain first and, as in ECS, their proxies stop after them. Returns
    /// how many requests each task answered.
    pub(crate) async fn stop(&self) -> Vec<Answered> {
        self.ending.0.close();
        self.engine.close();
        let all: Vec<_> = self.tasks.lock().keys().copied().collect();
        // A change in progress stops the tasks that it has removed, at the same time.
        future::zip(self.remove(&all), self.changing.lock()).await;
        let load_balancer = self.load_balancer.lock().take();
        Process::stop(load_balancer).await;
        let answered = std::mem::take(&mut *self.answered.lock());
        let of = |service: Service| {
            let its = answered.iter().filter(|(task, _)| task.service == service);
            its.map(|(task, count)| (*task, *count)).collect()
        };
        let counted = self.engine.counted();
        [EDGE]
            .iter()
            .chain(LEAVES)
            .map(|&service| Answered { behind: front_name(service), counted, tasks: of(service) })
            .collect()
    }

    /// The state of all services and tasks.
    pub(crate) async fn overview(&self) -> Overview {
        let greeters = self.tasks_of(EDGE, Traffic::Production);
        let mut services = Vec::new();
        for &service in SERVICES {
            let envoys = self.engine.envoys().filter(|_| service.kind == Kind::Edge);
            let envoy = envoys.map(|envoys| EnvoyOverview {
                pid: self.load_balancer.lock().as_ref().and_then(pid),
                admin: envoys.load_balancer().admin,
            });
            let mut tasks: Vec<_> = self
                .tasks
                .lock()
                .iter()
                .filter(|(task, _)| task.service == service)
                .map(|(task, running)| (*task, self.task_overview(*task, running)))
                .collect();
            for (task, overview) in &mut tasks {
                overview.ejected_by = self.engine.ejected_by(*task, &greeters).await;
                if self.engine.counted() == Counted::Requests {
                    overview.answered = self.engine.answered(*task).await;
                }
            }
            services.push(ServiceOverview {
                name: service.name,
                behind: front_name(service),
                command: self.programs.get(&service).map(UserProgram::command),
                address: self.engine.front(service),
                envoy,
                tasks: tasks.into_iter().map(|(_, overview)| overview).collect(),
            });
        }
        Overview { address: self.front, services }
    }

    fn task_overview(&self, task: Task, running: &Running) -> TaskOverview {
        let place = running.application.place();
        let Variables { version, fault } = running.variables.clone();
        TaskOverview {
            name: task.to_string(),
            address: place.map(|(address, _)| address),
            pid: place.map(|(_, pid)| pid),
            envoy: self.engine.envoys().map(|envoys| EnvoyOverview {
                pid: running.sidecar.as_ref().and_then(pid),
                admin: envoys.sidecar(task).admin,
            }),
            version,
            fault,
            traffic: running.traffic,
            paused: running.paused.is_some() && running.paused == place.map(|(_, pid)| pid),
            ejected_by: Vec::new(),
            answered: None,
        }
    }

    /// The traces of the requests.
    ///
    /// # Errors
    ///
    /// This mesh keeps none.
    pub(crate) fn traces(&self) -> Result<&Arc<Traces>, String> {
        let none = "this mesh traces no requests: start it with cargo mesh --trace";
        self.traces.as_ref().ok_or_else(|| none.to_owned())
    }

    /// Sets the number of tasks of a service.
    pub(crate) async fn scale(
        self: &Arc<Self>,
        service: Service,
        to: u8,
    ) -> Result<String, String> {
        if !(1..=MAX_TASKS).contains(&to) {
            return Err(not_possible(to));
        }
        let _changing = self.change().await?;
        self.is_not_released(service)?;
        let tasks = self.tasks_of(service, Traffic::Production);
        let count = usize::from(to);
        if let Some(surplus) = tasks.get(count..) {
            self.remove(surplus).await;
        } else {
            // None is left once the mesh ends.
            let first = *tasks.first().ok_or(ENDS)?;
            let mut variables = self.variables(first)?;
            // New tasks inject no fault.
            variables.fault = None;
            let new = self.free(service).take(count - tasks.len()).collect::<Vec<_>>();
            self.add(new, &variables, Traffic::Production).await?;
        }
        Ok(format!("{}: {}", service.name, names(&self.tasks_of(service, Traffic::Production))))
    }

    /// Replaces a task with one that has this `FAULT`, or none.
    pub(crate) async fn fault(&self, task: Task, fault: Option<String>) -> Result<String, String> {
        // What another program makes of the variable is its own affair.
        let is_ours = !self.programs.contains_key(&task.service);
        if is_ours && task.service.kind == Kind::Edge {
            let leaves: Vec<_> = LEAVES.iter().map(|leaf| leaf.name).collect();
            let leaves = leaves.join(", ");
            return Err(format!("{task} cannot inject faults: give a task of one of {leaves}"));
        }
        let _changing = self.change().await?;
        let variables = Variables { fault, ..self.variables(task)? };
        if is_ours {
            variables.check()?;
        }
        self.replace(task, variables).await?;
        Ok(format!("{task} is replaced"))
    }

    /// Replaces the tasks of a service, one by one, with tasks of this `VERSION`.
    pub(crate) async fn release(
        &self,
        service: Service,
        version: Option<String>,
    ) -> Result<String, String> {
        Variables { version: version.clone(), fault: None }.check()?;
        self.replace_all(service, |old| Variables { version: version.clone(), ..old }).await
    }

    /// Replaces the tasks of the user's programs, one by one, and prints how that went.
    pub(crate) async fn restart_user_programs(&self) {
        for &service in self.programs.keys() {
            let replaced = self.replace_all(service, |old| old).await;
            self.announce(&replaced.unwrap_or_else(|why| why));
        }
    }

    /// Replaces the tasks of a service, one by one.
    async fn replace_all(
        &self,
        service: Service,
        new: impl Fn(Variables) -> Variables,
    ) -> Result<String, String> {
        let _changing = self.change().await?;
        self.is_not_released(service)?;
        let tasks = self.tasks_of(service, Traffic::Production);
        for &task in &tasks {
            self.goes_on()?;
            self.replace(task, new(self.variables(task)?)).await?;
        }
        Ok(format!("{} replaced: {}", service.name, names(&tasks)))
    }

    /// Starts as many tasks of this `VERSION` as the service has, for test traffic only.
    pub(crate) async fn release_beside(
        self: &Arc<Self>,
        service: Service,
        version: Option<String>,
    ) -> Result<String, String> {
        if self.engine.counted() == Counted::Connections {
            return Err(
                "with --connect tcp no proxy sees a header: start the mesh without it".into()
            );
        }
        let _changing = self.change().await?;
        self.is_not_released(service)?;
        let count = self.tasks_of(service, Traffic::Production).len();
        let green: Vec<_> = self.free(service).take(count).collect();
        let variables = Variables { version, fault: None };
        variables.check()?;
        self.add(green.clone(), &variables, Traffic::Test).await?;
        let (name, header) = (service.name, envoy_config::policy::TEST_HEADER);
        Ok(format!(
            "{name} has test traffic at {}: curl -H '{header}: 1' http://{}; \
             then cargo mesh promote {name}, or cargo mesh rollback {name}",
            names(&green),
            self.front
        ))
    }

    /// Sends all requests to the new tasks of a blue-green release, and stops the old ones.
    pub(crate) async fn promote(&self, service: Service) -> Result<String, String> {
        let _changing = self.change().await?;
        let (blue, green) = self.released(service)?;
        for &task in &green {
            self.engine.assign(task, Traffic::Production);
            if let Some(running) = self.tasks.lock().get_mut(&task) {
                running.traffic = Traffic::Production;
            }
        }
        self.remove(&blue).await;
        Ok(format!("{}: {}", service.name, names(&green)))
    }

    /// Stops the new tasks of a blue-green release.
    pub(crate) async fn roll_back(&self, service: Service) -> Result<String, String> {
        let _changing = self.change().await?;
        let (blue, green) = self.released(service)?;
        self.remove(&green).await;
        Ok(format!("{}: {}", service.name, names(&blue)))
    }

    /// Sends a signal to a task's process: suspends it, resumes it, or kills it.
    pub(crate) fn signal(&self, task: Task, signal: Signal) -> Result<String, String> {
        let mut tasks = self.tasks.lock();
        let Some(running) = tasks.get_mut(&task) else { return Err(no_task(task, &tasks)) };
        let pid = pid(&running.application).ok_or_else(|| format!("{task} is not running"))?;
        let raw = i32::try_from(pid).map_err(|_| format!("{task} has no process"))?;
        // With the processes that it has started: each task leads a group.
        killpg(Pid::from_raw(raw), signal).map_err(|error| format!("{task}: {error}"))?;
        running.paused = (signal == Signal::SIGSTOP).then_some(pid);
        Ok(format!("{signal} to {task}, process {pid}"))
    }

    /// Waits until no other change is in progress.
    async fn change(&self) -> Result<MutexGuard<'_, ()>, String> {
        let changing = self.changing.lock().await;
        self.goes_on().map(|()| changing)
    }

    fn goes_on(&self) -> Result<(), String> {
        if self.ending.1.is_closed() { Err(ENDS.to_owned()) } else { Ok(()) }
    }

    fn process(&self, name: String, program: Program, register: Register) -> Process {
        Process::start(name, program, register, self.starter.clone())
    }

    /// Waits until a process is up, or the mesh ends.
    async fn is_up(
        &self,
        name: &str,
        is_up: impl Future<Output = Result<(), String>>,
    ) -> Result<(), String> {
        let ends = async {
            closed(&self.ending.1).await;
            Err(ENDS.to_owned())
        };
        future::or(is_up, ends).await.map_err(|why| cannot_start(name, &why))
    }

    /// Prints what was changed.
    pub(crate) fn announce(&self, what: &str) {
        // Fails once the receiver is dropped: the mesh has ended.
        let _ = self.starter.events.try_send(Event::Changed { what: what.to_owned() });
    }

    /// The tasks of a service that get such requests.
    fn tasks_of(&self, service: Service, traffic: Traffic) -> Vec<Task> {
        let tasks = self.tasks.lock();
        let its = tasks
            .iter()
            .filter(|(task, running)| task.service == service && running.traffic == traffic);
        its.map(|(task, _)| *task).collect()
    }

    /// The task numbers of the service that are free.
    fn free(&self, service: Service) -> impl Iterator<Item = Task> {
        (1..=u8::MAX)
            .map(move |number| Task { service, number })
            .filter(|task| !self.tasks.lock().contains_key(task))
    }

    fn variables(&self, task: Task) -> Result<Variables, String> {
        let tasks = self.tasks.lock();
        let found = tasks.get(&task).map(|running| running.variables.clone());
        found.ok_or_else(|| no_task(task, &tasks))
    }

    /// The old and the new tasks of a blue-green release.
    fn released(&self, service: Service) -> Result<(Vec<Task>, Vec<Task>), String> {
        let [blue, green] = [Traffic::Production, Traffic::Test].map(|t| self.tasks_of(service, t));
        if green.is_empty() {
            let name = service.name;
            return Err(format!(
                "{name} has no blue-green release: cargo mesh release {name} VERSION --blue-green"
            ));
        }
        Ok((blue, green))
    }

    fn is_not_released(&self, service: Service) -> Result<(), String> {
        let name = service.name;
        match self.released(service) {
            Err(_) => Ok(()),
            Ok(_) => Err(format!(
                "{name} has a blue-green release: cargo mesh promote {name}, or cargo mesh rollback {name}"
            )),
        }
    }

    /// Starts tasks, all at the same time. If one cannot start, all of them are ended again.
    async fn add(
        self: &Arc<Self>,
        tasks: impl IntoIterator<Item = Task>,
        variables: &Variables,
        traffic: Traffic,
    ) -> Result<(), String> {
        let tasks: Vec<_> = tasks.into_iter().collect();
        let start = |&task: &Task| {
            let (this, variables) = (self.clone(), variables.clone());
            smol::spawn(async move { this.add_one(task, variables, traffic).await })
        };
        let mut result = Ok(());
        for started in tasks.iter().map(start).collect::<Vec<_>>() {
            result = result.and(started.await);
        }
        if result.is_err() {
            self.remove(&tasks).await;
        }
        result
    }

    async fn add_one(
        &self,
        task: Task,
        variables: Variables,
        traffic: Traffic,
    ) -> Result<(), String> {
        let failed = |error: io::Error| cannot_start(&task.to_string(), &error.to_string());
        self.engine.add(task, traffic).map_err(failed)?;
        let application = self.start_application(task, &variables);
        let is_up = application.is_up();
        // Inserted before it is up, so that the end of the mesh stops it too.
        let running = Running { variables, traffic, application, sidecar: None, paused: None };
        if let Some(late) = self.insert(task, running) {
            Process::stop([late.application]).await;
            return Err(ENDS.to_owned());
        }
        self.is_up(&task.to_string(), is_up).await?;
        if let Some(envoys) = self.engine.envoys() {
            let ProxyProcess { name, program, register, .. } = envoys.sidecar(task);
            let mut sidecar = Some(self.process(name.clone(), program, register));
            let is_up = sidecar.as_ref().map(Process::is_up);
            if let Some(running) = self.tasks.lock().get_mut(&task) {
                running.sidecar = sidecar.take();
            }
            // The task has been removed meanwhile.
            Process::stop(sidecar).await;
            if let Some(is_up) = is_up {
                self.is_up(&name, is_up).await?;
            }
        }
        Ok(())
    }

    /// Inserts a task, or returns it if the mesh ends.
    fn insert(&self, task: Task, running: Running) -> Option<Running> {
        let mut tasks = self.tasks.lock();
        // Checked under the lock: `stop` sets the flag before it takes the lock.
        if self.goes_on().is_err() {
            return Some(running);
        }
        tasks.insert(task, running);
        None
    }

    /// Starts a task's program with the URLs of the services that it calls.
    fn start_application(&self, task: Task, variables: &Variables) -> Process {
        let url = |leaf: &Service| {
            (leaf.variable, format!("http://{}", self.engine.upstream(task, *leaf)))
        };
        let mut environment: Vec<_> = task.service.calls().iter().map(url).collect();
        environment.extend(variables.version.clone().map(|version| ("VERSION", version)));
        environment.extend(variables.fault.clone().map(|fault| ("FAULT", fault)));
        let program = match self.programs.get(&task.service).cloned() {
            Some(program) => Program::User { task, program, environment },
            None => Program::Task { task, ip: self.engine.address(task), environment },
        };
        self.process(task.to_string(), program, self.engine.register(task))
    }

    /// Replaces a task's process. If the new one cannot start, nothing changes.
    async fn replace(&self, task: Task, variables: Variables) -> Result<(), String> {
        let new = self.start_application(task, &variables);
        if let Err(why) = self.is_up(&task.to_string(), new.is_up()).await {
            Process::stop([new]).await;
            return Err(why);
        }
        let old = match self.tasks.lock().get_mut(&task) {
            Some(running) => {
                running.variables = variables;
                std::mem::replace(&mut running.application, new)
            }
            // The mesh ends, and stops the old one.
            None => new,
        };
        Process::stop([old]).await;
        self.goes_on()
    }

    /// Drains tasks, all at the same time, and then stops their sidecars.
    async fn remove(&self, tasks: &[Task]) {
        let mut removed: Vec<_> = {
            let mut all = self.tasks.lock();
            tasks.iter().filter_map(|task| Some((*task, all.remove(task)?))).collect()
        };
        let mut sidecars = Vec::new();
        for (task, running) in &mut removed {
            sidecars.push((*task, running.sidecar.take()));
        }
        Process::stop(removed.into_iter().map(|(_, running)| running.application)).await;
        for (task, _) in &sidecars {
            if let Some(count) = self.engine.answered(*task).await {
                *self.answered.lock().entry(*task).or_default() += count;
            }
        }
        let (tasks, sidecars): (Vec<_>, Vec<_>) = sidecars.into_iter().unzip();
        Process::stop(sidecars.into_iter().flatten()).await;
        for task in tasks {
            self.engine.remove(task);
        }
    }
}

fn pid(process: &Process) -> Option<u32> {
    process.place().map(|(_, pid)| pid)
}

fn cannot_start(name: &str, why: &str) -> String {
    format!("{name} cannot start: {}", log_line::shorten(why))
}

fn no_task(task: Task, tasks: &BTreeMap<Task, Running>) -> String {
    let its: Vec<_> = tasks.keys().filter(|other| other.service == task.service).copied().collect();
    format!("there is no {task}: give one of {}", names(&its))
}

fn names(tasks: &[Task]) -> String {
    let names: Vec<_> = tasks.iter().map(Task::to_string).collect();
    names.join(", ")
}
