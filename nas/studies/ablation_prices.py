"""What the networks of an ablation take on the device: predicted by the run's profile, else measured when all is
trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rich.console import Console

from nas.engines.engine import make_engine
from nas.engines.interruption import Interruption
from nas.stages.front_latency import FinalPlan
from nas.trainings.prepared import Prepared
from reports.ablation import AblationPlan, LatencyPrices
from reports.noise import counted
from reports.view import RunView
from trials.budgets.pricing import half_width
from trials.errors import DeviceError, LatencyError


def latency_prices(
    plan: AblationPlan, view: RunView, prepared: Prepared, stderr: Console, interruption: Interruption
) -> Iterator[LatencyPrices]:
    """The latencies of a plan's networks as they become known, each network's once; those that the plan has stand.

    Told in the run's milliseconds. Where the device is not to be had, the last says why. Raises Interrupted.
    """
    networks = {variant.architecture.key: variant.architecture for variant in plan.variants}
    if prepared.profile is not None:
        profile, nominal = prepared.profile, view.pricing.nominal_ms or prepared.profile.baseline_ms
        scale = nominal / profile.baseline_ms
        figures = {key: (profile.predict_ms(a) * scale, None) for key, a in networks.items()}
        yield LatencyPrices(f"predicted by {prepared.config.latency_profile}, without intervals", figures)
        return
    if networks.keys() <= plan.latency.figures.keys():
        return
    final = FinalPlan.of(prepared.config, prepared.space, None)
    engine = make_engine(prepared.config, interruption)
    try:
        with engine.bench(final.space, final.target, final.protocol) as bench:
            target = f"measured on {final.target.of(bench.device_name(), final.protocol.batch_size)}, once each"
            known = dict(plan.latency.figures) if plan.latency.target == target else {}
            prices = LatencyPrices(target, known)
            waiting = {key: a for key, a in networks.items() if key not in known}
            stderr.print(f"measuring {counted(len(waiting), 'network')}, no training running", soft_wrap=True)
            nominal = view.pricing.nominal_ms or bench.measure(prepared.space.baseline, None).latency.reference_p50_ms
            for key, architecture in waiting.items():
                interruption.check()
                latency = bench.measure(architecture, nominal).latency
                half = half_width(latency, final.protocol.block) * latency.p50_ms
                prices = replace(prices, figures={**prices.figures, key: (latency.p50_ms, half)})
                yield prices
    except (LatencyError, DeviceError) as error:
        yield LatencyPrices(skipped=str(error))
    finally:
        engine.close()
