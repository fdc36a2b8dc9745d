"""`LinkHeatmapHook`: a heatmap of the links in TensorBoard, W&B or another visual back-end."""

from __future__ import annotations

from pathlib import Path

from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from aal_plugin.analysis.heatmap import pixels, plot_link_strength
from aal_plugin.analysis.links import link_strength
from aal_plugin.analysis.saved_links import append_record
from aal_plugin.core.settings import check_whole

from .bare_model import bare_model, links_of


@HOOKS.register_module()
class LinkHeatmapHook(Hook):
    """Draws the links with MMEngine's visualizer and saves their strengths as numbers.

    The numbers go to `<run>/vis_data/link_strength.json` in the work dir, one line an epoch;
    `tools/analysis/links_over_epochs.py` draws them. The links are the raw ones, not EMAHook's
    average.

    Args:
        interval: epochs between two heatmaps. The hook also draws before training and after the
            last epoch.

    Raises:
        ValueError: interval is below 1; the model has no link head.
    """

    def __init__(self, interval: int = 1) -> None:
        check_whole("LinkHeatmapHook.interval", interval, 1)
        self.interval = interval

    def before_train(self, runner: Runner) -> None:
        self._links = links_of(runner)
        if self._links is None:
            raise ValueError(
                "LinkHeatmapHook needs a link head, but "
                f"{type(bare_model(runner.model)).__name__} has none; set "
                "model.type='AALClassifier' with link_head=dict(type='AttentionLinkHead'), or "
                "remove the hook"
            )
        if runner.epoch == 0:
            self._draw(runner, 0)

    def after_train_epoch(self, runner: Runner) -> None:
        epoch = runner.epoch + 1
        if epoch % self.interval == 0 or epoch == runner.max_epochs:
            self._draw(runner, epoch)

    @master_only
    def _draw(self, runner: Runner, epoch: int) -> None:
        links = self._links
        weights = {f"links.{name}": weight for name, weight in links.state_dict().items()}
        strength = link_strength(weights, links.ranges, links.heads)
        image = pixels(plot_link_strength(strength, f"links, epoch {epoch}"))
        runner.visualizer.add_image("links", image, step=epoch)
        folder = Path(runner.log_dir) / "vis_data"
        append_record(folder, epoch, strength, links.ranges, links.heads)
