"""The method in plain torch: attention maps, teacher maps, links, distance and λ."""

from .attention import class_token_attention, qkv_class_token_attention
from .links import AttentionLinks, link_distance, link_ranges, mean_link_distance
from .resize import resize_maps
from .schedule import check_schedule, link_weight
from .taps import AttentionTaps
from .teacher import FrozenTeacher
from .timm_teacher import TimmTeacher
from .unregistered import Unregistered

__all__ = [
    "AttentionLinks",
    "AttentionTaps",
    "FrozenTeacher",
    "TimmTeacher",
    "Unregistered",
    "check_schedule",
    "class_token_attention",
    "link_distance",
    "link_ranges",
    "link_weight",
    "mean_link_distance",
    "qkv_class_token_attention",
    "resize_maps",
]
